# Build type "Dev": what debugging allows of optimisation (a sixth faster to compile than -O1), line tables only.
set(CMAKE_CXX_FLAGS_DEV "-Og -g1 -fno-omit-frame-pointer" CACHE STRING "" FORCE)
set(CMAKE_C_FLAGS_DEV "-Og -g1 -fno-omit-frame-pointer" CACHE STRING "" FORCE)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Dev CACHE STRING "" FORCE)
endif()

# g++ frees nothing while it compiles a file, for a tenth of its time; no file takes 1 GB.
add_compile_options("$<$<CXX_COMPILER_ID:GNU>:--param=ggc-min-expand=1000;--param=ggc-min-heapsize=1500000>")
add_link_options(-fuse-ld=lld)  # a fifth of the time of the default linker

# Hardening for every build that is not instrumented; the sanitizers bring their own checks.
if(REEVE_SANITIZE STREQUAL "address")
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=undefined)
  add_link_options(-fsanitize=address,undefined)
elseif(REEVE_SANITIZE STREQUAL "thread")
  add_compile_options(-fsanitize=thread -Wno-tsan)  # the fences of virtio queues order the guest's accesses, not ours
  add_link_options(-fsanitize=thread)
else()
  add_compile_options(-fstack-protector-strong)
  add_compile_definitions($<$<CONFIG:Release>:_FORTIFY_SOURCE=2>)
  add_link_options(-Wl,-z,relro,-z,now)
endif()
if(REEVE_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
