# SPDX-License-Identifier: MIT
# Configures, builds and runs the project in WAY/ outside of graft's build, as a user would, and
# checks that none of graft's own flags reach it.

cmake_minimum_required(VERSION 3.25)

set(source "${CMAKE_CURRENT_LIST_DIR}/${WAY}")
set(arguments "-DGRAFT_SOURCE=${GRAFT_SOURCE}")

file(REMOVE_RECURSE "${WORK}")
if(WAY MATCHES "^(find_package|cuda)$")
  execute_process(COMMAND ${CMAKE_COMMAND} --install "${GRAFT_BUILD}" --prefix "${WORK}/installed"
                  OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
  string(REPLACE ";" "\\;" prefixes "${WORK}/installed;${PREFIXES}")
  set(arguments "-DCMAKE_PREFIX_PATH=${prefixes}")
endif()
if(WAY STREQUAL "cuda")
  list(APPEND arguments "-DCMAKE_CUDA_COMPILER=${CUDA_COMPILER}" -DCMAKE_CUDA_ARCHITECTURES=90)
endif()

execute_process(
  COMMAND ${CMAKE_COMMAND} -E env --unset=CXXFLAGS
          ${CMAKE_COMMAND} -S "${source}" -B "${WORK}/build" -G "${GENERATOR}" ${arguments}
          "-DCMAKE_CXX_COMPILER=${COMPILER}" -DCMAKE_EXPORT_COMPILE_COMMANDS=ON
          --no-warn-unused-cli -Werror=dev
  COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${CMAKE_COMMAND} --build "${WORK}/build" --parallel 1
                COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${CMAKE_CTEST_COMMAND} --test-dir "${WORK}/build" --output-on-failure
                        --no-tests=error
                COMMAND_ERROR_IS_FATAL ANY)

file(READ "${WORK}/build/compile_commands.json" commands)
if(commands MATCHES " -(W|O|march|fsanitize)[^ ]*")
  message(FATAL_ERROR "graft gives its users the flag${CMAKE_MATCH_0}")
endif()
