# The three ways to add code. A module links only what it names, so a wrong edge fails to link;
# tests/lint/check_layers.py fails on a wrong #include.

add_library(reeve_warnings INTERFACE)
target_compile_options(reeve_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wnon-virtual-dtor -Wno-missing-field-initializers
  $<$<CXX_COMPILER_ID:Clang>:-Wthread-safety>
  # g++ 12 sees overlaps and overruns in std::string's operator+ that are not there, and with a precompiled header it
  # no longer knows that the place is in a system header.
  $<$<CXX_COMPILER_ID:GNU>:-Wno-array-bounds> $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>
  $<$<CXX_COMPILER_ID:GNU>:-Wno-stringop-overflow> $<$<CXX_COMPILER_ID:GNU>:-Wno-stringop-overread>)
if(REEVE_WERROR)
  target_compile_options(reeve_warnings INTERFACE -Werror)
endif()

include(cmake/precompiled.cmake)

# reeve_module(NAME SOURCES a.cpp ... [DEPS targets...] [PRIVATE_DEPS targets...])
function(reeve_module name)
  cmake_parse_arguments(M "" "" "SOURCES;DEPS;PRIVATE_DEPS" ${ARGN})
  add_library(${name} STATIC ${M_SOURCES})
  target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR})
  target_link_libraries(${name} PUBLIC ${M_DEPS} PRIVATE ${M_PRIVATE_DEPS} reeve_warnings)
  reeve_precompiled(${name} PLAIN)
endfunction()

# reeve_program(NAME SOURCES ... DEPS ...): an executable in build/<preset>/bin.
function(reeve_program name)
  cmake_parse_arguments(M "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${M_SOURCES})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${M_DEPS} reeve_warnings)
  reeve_precompiled(${name} PLAIN)
endfunction()

# reeve_test(NAME LABEL unit|contract|sim|system|lab SOURCES ... DEPS ... [TIMEOUT seconds] [SERIAL]
#            [PROGRAMS targets the test runs] [RUNNER script])
# One binary; every TEST_CASE in it becomes one ctest entry "NAME: sentence". SERIAL: its cases share
# something of the machine and do not run beside each other. RUNNER: `script BINARY` runs all cases somewhere else,
# then `script BINARY CASE` answers for each (tests/contract/in_lab.py).
function(reeve_test name)
  cmake_parse_arguments(M "SERIAL" "LABEL;TIMEOUT;RUNNER" "SOURCES;DEPS;PROGRAMS" ${ARGN})
  if(NOT M_TIMEOUT)
    set(M_TIMEOUT 60)
  endif()
  if(REEVE_SANITIZE)
    math(EXPR M_TIMEOUT "${M_TIMEOUT} * 4")
  endif()
  add_executable(${name} ${M_SOURCES})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${M_DEPS} reeve_test_main reeve_warnings)
  reeve_precompiled(${name} CATCH)
  if(M_PROGRAMS)
    add_dependencies(${name} ${M_PROGRAMS})
  endif()
  set(properties LABELS ${M_LABEL} TIMEOUT ${M_TIMEOUT})
  if(M_SERIAL)
    list(APPEND properties RESOURCE_LOCK ${name})
  endif()
  if(M_RUNNER)
    set_target_properties(${name} PROPERTIES CROSSCOMPILING_EMULATOR ${M_RUNNER})
    add_test(NAME "${name}:the run of all cases" COMMAND ${M_RUNNER} $<TARGET_FILE:${name}>)
    set_tests_properties("${name}:the run of all cases" PROPERTIES ${properties} FIXTURES_SETUP ${name})
    list(APPEND properties FIXTURES_REQUIRED ${name})
  endif()
  catch_discover_tests(${name} TEST_PREFIX "${name}: " DISCOVERY_MODE PRE_TEST PROPERTIES ${properties})
endfunction()
