# SPDX-License-Identifier: MIT
# Compiles SOURCE with COMPILER, which must refuse it. The first diagnostic (the first line with
# "error:" and what the compiler adds to it) must match the regular expression in the source's line
#   // expect: <regex>
# FLAGS is a file with further compiler arguments, PRECOMPILED a header that is included first.

cmake_minimum_required(VERSION 3.25)

file(STRINGS "${SOURCE}" expectation REGEX "^// expect: " LIMIT_COUNT 1)
string(REGEX REPLACE "^// expect: " "" expectation "${expectation}")
if(NOT expectation)
  message(FATAL_ERROR "${SOURCE}: needs a line '// expect: <regex>'")
endif()

execute_process(
  COMMAND ${CMAKE_COMMAND} -E env LC_ALL=C
          "${COMPILER}" -std=c++20 -fsyntax-only "@${FLAGS}" -include "${PRECOMPILED}" "${SOURCE}"
  RESULT_VARIABLE result
  OUTPUT_VARIABLE output
  ERROR_VARIABLE output)

if(result EQUAL 0)
  message(FATAL_ERROR "${SOURCE}: compiles, but must not")
endif()

# From the first "error:" to the line of the next one.
string(FIND "${output}" "error:" begin)
if(begin EQUAL -1)
  message(NOTICE "${output}")
  message(FATAL_ERROR "${SOURCE}: fails without an error message (${result})")
endif()
string(SUBSTRING "${output}" ${begin} -1 first)
string(SUBSTRING "${first}" 6 -1 rest)
string(FIND "${rest}" "error:" end)
if(NOT end EQUAL -1)
  math(EXPR end "${end} + 6")
  string(SUBSTRING "${first}" 0 ${end} first)
  string(REGEX REPLACE "\n[^\n]*$" "" first "${first}")
endif()

if(NOT first MATCHES "${expectation}")
  message(NOTICE "${output}")
  message(FATAL_ERROR "${SOURCE}: refused, but the first message does not match\n"
                      "  ${expectation}")
endif()
