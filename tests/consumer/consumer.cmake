# SPDX-License-Identifier: MIT
# The rest of every consumer project, once graft is there.
if(TARGET graft_strict OR TARGET graft_test_main)
  message(FATAL_ERROR "graft builds its own programs in a project that only uses it")
endif()
enable_testing()

add_executable(consumer "${CMAKE_CURRENT_LIST_DIR}/main.cpp")
target_link_libraries(consumer PRIVATE graft::graft)
add_test(NAME consumer COMMAND consumer)

# The same with the CPU backend compiled apart. That takes a while, and a fetched graft is an added
# subdirectory: twice is enough.
if(NOT PROJECT_NAME STREQUAL "fetch_content")
  add_executable(compiled_consumer "${CMAKE_CURRENT_LIST_DIR}/main.cpp")
  target_link_libraries(compiled_consumer PRIVATE graft::cpu_compiled)
  add_test(NAME compiled_consumer COMMAND compiled_consumer)
endif()

if(TARGET graft::text)
  add_executable(text_consumer "${CMAKE_CURRENT_LIST_DIR}/text.cpp")
  target_link_libraries(text_consumer PRIVATE graft::text)
  add_test(NAME text_consumer COMMAND text_consumer)
endif()
