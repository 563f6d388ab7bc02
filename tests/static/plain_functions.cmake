# SPDX-License-Identifier: MIT
# Checks that graft_extern.cpp, which compiles the plain functions for a program, includes every header under
# INCLUDE/graft that defines some (core/plain.hpp).

cmake_minimum_required(VERSION 3.25)

set(reached graft/graft_extern.cpp)
set(next ${reached})
while(next)
  list(POP_FRONT next file)
  file(STRINGS "${INCLUDE}/${file}" lines REGEX "^[ \t]*#[ \t]*include[ \t]*<graft/")
  foreach(line IN LISTS lines)
    string(REGEX MATCH "graft/[^>]*" included "${line}")
    if(NOT included IN_LIST reached)
      list(APPEND reached "${included}")
      list(APPEND next "${included}")
    endif()
  endforeach()
endwhile()

set(missing "")
file(GLOB_RECURSE headers RELATIVE "${INCLUDE}" "${INCLUDE}/graft/*.hpp")
foreach(header IN LISTS headers)
  file(STRINGS "${INCLUDE}/${header}" bodies REGEX "^#if GRAFT_BODIES" LIMIT_COUNT 1)
  if(bodies AND NOT header IN_LIST reached)
    string(APPEND missing "${INCLUDE}/${header}:1: expected to be included by graft_extern.cpp\n")
  endif()
endforeach()
list(LENGTH reached count)
if(missing OR count LESS 2)
  message(NOTICE "${missing}")
  message(FATAL_ERROR "graft_extern.cpp leaves out plain functions")
endif()
