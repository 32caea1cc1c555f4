find_package(Protobuf REQUIRED)
find_program(REEVE_GRPC_CPP_PLUGIN grpc_cpp_plugin REQUIRED)
set(REEVE_GENERATED ${CMAKE_BINARY_DIR}/generated)
file(MAKE_DIRECTORY ${REEVE_GENERATED})

# reeve_proto(MESSAGES_VAR SERVICES_VAR files...): generates C++ for .proto files given relative to proto/.
# MESSAGES_VAR receives the .pb.cc files; SERVICES_VAR the .grpc.pb.cc of files named *_service.proto.
function(reeve_proto messages_var services_var)
  set(messages "")
  set(services "")
  foreach(file ${ARGN})
    string(REGEX REPLACE "\\.proto$" "" stem ${file})
    set(out ${REEVE_GENERATED}/${stem}.pb.cc ${REEVE_GENERATED}/${stem}.pb.h)
    set(grpc_args "")
    if(stem MATCHES "_service$")
      list(APPEND out ${REEVE_GENERATED}/${stem}.grpc.pb.cc ${REEVE_GENERATED}/${stem}.grpc.pb.h)
      set(grpc_args --grpc_out=${REEVE_GENERATED} --plugin=protoc-gen-grpc=${REEVE_GRPC_CPP_PLUGIN})
      list(APPEND services ${REEVE_GENERATED}/${stem}.grpc.pb.cc)
    endif()
    add_custom_command(
      OUTPUT ${out}
      COMMAND protobuf::protoc --proto_path=${CMAKE_SOURCE_DIR}/proto --cpp_out=${REEVE_GENERATED} ${grpc_args}
              ${CMAKE_SOURCE_DIR}/proto/${file}
      DEPENDS ${CMAKE_SOURCE_DIR}/proto/${file}
      COMMENT "protoc ${file}")
    list(APPEND messages ${REEVE_GENERATED}/${stem}.pb.cc)
  endforeach()
  set(${messages_var} ${messages} PARENT_SCOPE)
  set(${services_var} ${services} PARENT_SCOPE)
endfunction()

# reeve_in_batches(TARGET): compiles generated code several files at a time, since its headers take longer than the code.
# Not for messages with reflection: their files use the same static names.
function(reeve_in_batches target)
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 5)
endfunction()
