# SPDX-License-Identifier: MIT
# How graft's own tests, examples and benchmarks are built. Nothing here reaches a user.

set(CMAKE_CXX_EXTENSIONS OFF)

# Warnings and the instruction set.
add_library(graft_strict INTERFACE)
target_compile_options(graft_strict INTERFACE
  "$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wpedantic;-Wconversion;-Wshadow>"
  $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-fconcepts-diagnostics-depth=3>
  $<$<AND:$<BOOL:${GRAFT_WERROR}>,$<COMPILE_LANGUAGE:CXX>>:-Werror>)

# "host" is the highest x86-64 level of the machine that builds. (-march=native would be less where a compiler is
# older than the processor: g++ 12 takes Zen 5 for Zen 3.)
set(graft_arch "${GRAFT_ARCH}")
if(graft_arch STREQUAL "host")
  try_run(graft_host_level graft_host_compiles "${PROJECT_BINARY_DIR}/host_level"
          "${CMAKE_CURRENT_LIST_DIR}/x86_64_level.cpp")
  if(graft_host_compiles AND graft_host_level MATCHES "^[234]$")
    set(graft_arch "x86-64-v${graft_host_level}")
  else()
    set(graft_arch "")
  endif()
  message(STATUS "graft: programs for ${graft_arch}")
endif()

# The presets ask for an x86-64 level; another processor keeps its compiler's default.
if(graft_arch MATCHES "^x86-64" AND NOT CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  message(STATUS "graft: GRAFT_ARCH=${graft_arch} is not for ${CMAKE_SYSTEM_PROCESSOR}: left out")
elseif(graft_arch)
  target_compile_options(graft_strict INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-march=${graft_arch}>)
endif()

# The plain functions, compiled once for all of our programs. Some of them read files, and so meet addresses
# that nobody made.
add_library(graft_plain STATIC EXCLUDE_FROM_ALL "${graft_include}/${graft_plain_source}")
target_link_libraries(graft_plain PUBLIC graft PRIVATE graft_strict)
if(CMAKE_CXX_FLAGS_DEBUG MATCHES "-fsanitize")
  target_compile_options(graft_plain PRIVATE $<$<CONFIG:Debug>:-fsanitize=alignment>)
endif()
target_compile_definitions(graft_plain PUBLIC GRAFT_EXTERN)

# … and the CPU backend.
add_library(graft_cpu STATIC EXCLUDE_FROM_ALL "${graft_include}/${graft_cpu_source}")
target_link_libraries(graft_cpu PUBLIC graft_plain PRIVATE graft_strict)
# All arithmetic is here: tests in Debug run it often enough for it to be worth some optimising.
target_compile_options(graft_cpu PRIVATE $<$<CONFIG:Debug>:-O1>)
# Nearly all of its code is Eigen's, and checking that for undefined behaviour doubles the time to
# compile it. Addresses are still checked.
if(CMAKE_CXX_FLAGS_DEBUG MATCHES "-fsanitize=[a-z,]*undefined")
  target_compile_options(graft_cpu PRIVATE $<$<CONFIG:Debug>:-fno-sanitize=undefined>)
endif()
# (g++ 12 warns of its own AVX-512 intrinsics.)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND graft_arch STREQUAL "x86-64-v4")
  target_compile_options(graft_cpu PRIVATE -Wno-maybe-uninitialized -Wno-uninitialized)
endif()
target_compile_definitions(graft_cpu PUBLIC GRAFT_CPU_EXTERN)

# The GPU backend's kernels, compiled once for all of our programs, and the types of numbers that these have
# there.
if(TARGET graft::cuda)
  set(GRAFT_GPU_PRECISIONS "f32;bf16;f16" CACHE STRING
      "Numbers that examples and benchmarks have on a GPU: of f32, bf16 and f16")
  set(graft_gpu_numbers ${GRAFT_GPU_PRECISIONS})
  list(TRANSFORM graft_gpu_numbers REPLACE "^f32$" "float")
  list(TRANSFORM graft_gpu_numbers REPLACE "^bf16$" "graft::bf16")
  list(TRANSFORM graft_gpu_numbers REPLACE "^f16$" "graft::fp16")
  list(JOIN graft_gpu_numbers "," graft_gpu_numbers)
  add_library(graft_gpu STATIC EXCLUDE_FROM_ALL)
  target_link_libraries(graft_gpu PRIVATE graft_cuda PUBLIC graft graft::cublas)
  add_custom_target(graft_for_gpu)  # what tests/cuda.sh builds
endif()
