# Run by cmake -P: writes OUT, a .cpp that holds FROM/NNNN_name.sql as Migrations, in order.
file(GLOB FILES ${FROM}/*.sql)
list(SORT FILES)
set(rows "")
foreach(file ${FILES})
  get_filename_component(stem ${file} NAME_WE)
  if(NOT stem MATCHES "^0*([0-9]+)_(.+)$")
    message(FATAL_ERROR "${file}: not called NNNN_name.sql")
  endif()
  set(number ${CMAKE_MATCH_1})
  set(name ${CMAKE_MATCH_2})
  file(READ ${file} sql)
  string(APPEND rows "    {${number}, \"${name}\", R\"~sql~(${sql})~sql~\"},\n")
endforeach()
file(WRITE ${OUT} "// Generated from db/migrations by db/embed_sql.cmake.
#include \"db/sqlite/migrate.h\"

namespace reeve::db {
namespace {

constexpr Migration kMigrations[] = {
${rows}};

}  // namespace

std::span<const Migration> embedded_migrations() { return kMigrations; }

}  // namespace reeve::db
")
