# SPDX-License-Identifier: MIT
# Runs COMMAND, which loses one of its processes: it must end soon, with STATUS, and leave none that
# goes on.

cmake_minimum_required(VERSION 3.25)

execute_process(COMMAND ${COMMAND} TIMEOUT 60
                RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
if(NOT status STREQUAL STATUS)
  message(FATAL_ERROR "expected exit status ${STATUS}, found ${status}\n${output}")
elseif(NOT output MATCHES "a process is lost" OR output MATCHES "a process went on")
  message(FATAL_ERROR "expected a lost process and none that goes on, found\n${output}")
endif()
