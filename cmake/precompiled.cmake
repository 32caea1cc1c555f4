# Precompiled headers: they halve a build from nothing. One each for plain C++, for messages, for the core's messages and
# for gRPC, and the same with Catch2 for tests. What a target gets follows from what it links; a source file still
# names every header it needs. Only for g++: clang wants the same macros in every user.

set(REEVE_PCH_STD
  <algorithm> <array> <atomic> <cerrno> <chrono> <cstdint> <cstring> <deque> <filesystem> <functional> <map> <memory>
  <mutex> <optional> <set> <span> <string> <string_view> <thread> <utility> <vector> <fcntl.h> <unistd.h>)
set(REEVE_PCH_MESSAGES
  ${REEVE_PCH_STD} <google/protobuf/descriptor.h> <google/protobuf/message.h> <reeve/v1/host.pb.h>
  <reeve/v1/image.pb.h> <reeve/v1/job.pb.h> <reeve/v1/vm.pb.h> <reeve/agent/v1/observation.pb.h>
  <reeve/agent/v1/step.pb.h>)
set(REEVE_PCH_GRPC ${REEVE_PCH_MESSAGES} <grpcpp/grpcpp.h> <grpcpp/support/server_callback.h>
  <reeve/v1/event_service.grpc.pb.h> <reeve/v1/host_service.grpc.pb.h> <reeve/v1/image_service.grpc.pb.h>
  <reeve/v1/job_service.grpc.pb.h> <reeve/v1/server_service.grpc.pb.h> <reeve/v1/vm_service.grpc.pb.h>)
set(REEVE_PCH_CORE_MESSAGES
  ${REEVE_PCH_STD} <reeve/core/v1/control.pb.h> <reeve/core/v1/machine.pb.h> <reeve/core/v1/saved_state.pb.h>)

set(REEVE_PCH_KINDS grpc messages core_messages std)
set(REEVE_PCH_OF_grpc reeve_proto_grpc)
set(REEVE_PCH_OF_messages reeve_proto)
set(REEVE_PCH_OF_core_messages reeve_core_proto)
set(REEVE_PCH_OF_std "")

# What TARGET reaches at compile time: its own libraries and the public ones of those.
function(reeve_reaches out target)
  get_target_property(pending ${target} LINK_LIBRARIES)
  set(seen "")
  while(pending)
    list(POP_FRONT pending next)
    if(next MATCHES "^reeve_" AND NOT next IN_LIST seen)
      list(APPEND seen ${next})
      if(TARGET ${next})
        get_target_property(more ${next} INTERFACE_LINK_LIBRARIES)
        if(more)  # not "more-NOTFOUND"
          list(APPEND pending ${more})
        endif()
      endif()
    endif()
  endwhile()
  set(${out} ${seen} PARENT_SCOPE)
endfunction()

# reeve_precompiled(TARGET CATCH|PLAIN): call it after the target's libraries are named.
function(reeve_precompiled target with)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    return()
  endif()
  reeve_reaches(libraries ${target})
  foreach(kind ${REEVE_PCH_KINDS})
    set(wanted "${REEVE_PCH_OF_${kind}}")
    if(NOT wanted OR wanted IN_LIST libraries)
      set(found ${kind})
      break()
    endif()
  endforeach()
  string(TOLOWER reeve_pch_${found}_${with} owner)
  if(NOT TARGET ${owner})
    string(TOUPPER REEVE_PCH_${found} headers)
    if(with STREQUAL "CATCH")
      list(APPEND ${headers} <catch2/catch.hpp>)
    endif()
    # A target must have a source, even if it is there for its header only.
    file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/precompiled.cpp CONTENT "")
    add_library(${owner} OBJECT EXCLUDE_FROM_ALL ${CMAKE_BINARY_DIR}/precompiled.cpp)
    target_link_libraries(${owner} PRIVATE ${wanted} reeve_warnings)
    target_precompile_headers(${owner} PRIVATE ${${headers}})
  endif()
  target_precompile_headers(${target} REUSE_FROM ${owner})
endfunction()
