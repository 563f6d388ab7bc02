# SPDX-License-Identifier: MIT
# The rest of every consumer project, once graft is there.
if(TARGET graft_strict OR TARGET graft_test_main)
  message(FATAL_ERROR "graft builds its own programs in a project that only uses it")
endif()
enable_testing()

add_executable(consumer "${CMAKE_CURRENT_LIST_DIR}/main.cpp")
target_link_libraries(consumer PRIVATE graft::graft)
add_test(NAME consumer COMMAND consumer)

# A whole program, once with everything in it and once with the CPU backend compiled apart. That takes a
# while, and a fetched graft is an added subdirectory: once each is enough.
if(PROJECT_NAME STREQUAL "find_package")
  set(backend graft::graft)
elseif(PROJECT_NAME STREQUAL "add_subdirectory")
  set(backend graft::cpu_compiled)
endif()
if(backend)
  add_executable(whole_consumer "${CMAKE_CURRENT_LIST_DIR}/whole.cpp")
  target_link_libraries(whole_consumer PRIVATE ${backend})
  add_test(NAME whole_consumer COMMAND whole_consumer)
endif()

if(TARGET graft::text)
  add_executable(text_consumer "${CMAKE_CURRENT_LIST_DIR}/text.cpp")
  target_link_libraries(text_consumer PRIVATE graft::text)
  add_test(NAME text_consumer COMMAND text_consumer)
endif()

if(TARGET graft::mpi)
  add_executable(mpi_consumer "${CMAKE_CURRENT_LIST_DIR}/mpi.cpp")
  target_link_libraries(mpi_consumer PRIVATE graft::mpi)
  add_test(NAME mpi_consumer COMMAND mpi_consumer)
endif()
