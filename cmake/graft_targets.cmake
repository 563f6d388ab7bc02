# SPDX-License-Identifier: MIT
# What users link: graft::graft, graft::text, graft::mpi, graft::cuda and graft::cpu_compiled. None of them
# carries a warning or an optimisation flag.

include(GNUInstallDirs)
find_package(Eigen3 3.4 REQUIRED CONFIG)
find_package(nlohmann_json 3.10 REQUIRED)
find_package(utf8proc)
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
include("${CMAKE_CURRENT_LIST_DIR}/graft_cpu_engine.cmake")
if(GRAFT_MPI)
  set(MPI_CXX_SKIP_MPICXX TRUE)  # the C++ bindings that MPI no longer has
  find_package(MPI COMPONENTS CXX)
  if(NOT MPI_CXX_FOUND)
    message(FATAL_ERROR "graft: GRAFT_MPI needs MPI (on Debian libopenmpi-dev and openmpi-bin), which "
                        "was not found")
  endif()
endif()

if(GRAFT_CUDA)
  if(PROJECT_IS_TOP_LEVEL)
    if(NOT CMAKE_CUDA_ARCHITECTURES)
      # Ampere and Hopper, and what later devices make their own code of.
      set(CMAKE_CUDA_ARCHITECTURES 80-real 90)
    endif()
    enable_language(CUDA)
  elseif(NOT CMAKE_CUDA_COMPILER)
    message(FATAL_ERROR "graft: GRAFT_CUDA needs the CUDA language: add CUDA to the LANGUAGES of your project()")
  endif()
  include("${CMAKE_CURRENT_LIST_DIR}/graft_find_cublas.cmake")
  if(NOT graft_cublas_FOUND)
    message(FATAL_ERROR "graft: GRAFT_CUDA needs the CUDA toolkit with cuBLAS: ${graft_cublas_lacks} was "
                        "not found (CMAKE_PREFIX_PATH says where else to look)")
  endif()
endif()

set(graft_include "${PROJECT_SOURCE_DIR}/include")
file(GLOB_RECURSE graft_headers CONFIGURE_DEPENDS "${graft_include}/*.hpp")
set(graft_text_headers ${graft_headers})
set(graft_mpi_headers ${graft_headers})
set(graft_cuda_headers ${graft_headers})
# (The rest of backend/cuda/ is ordinary C++.)
set(of_cuda "/include/graft/(cuda|backend/cuda|backend/cuda/launch|backend/cuda/lt_products|backend/cuda/cuda_device)[.]hpp$")
set(graft_engine_headers ${graft_headers})
set(of_engines "/include/graft/backend/cpu/engine/(onednn.*|blas)[.]hpp$")
list(FILTER graft_headers EXCLUDE REGEX "/include/graft/(text|mpi)/|${of_cuda}|${of_engines}")
list(FILTER graft_engine_headers INCLUDE REGEX "${of_engines}")
list(FILTER graft_cuda_headers INCLUDE REGEX "${of_cuda}")
list(FILTER graft_text_headers INCLUDE REGEX "/include/graft/text/")
list(FILTER graft_mpi_headers INCLUDE REGEX "/include/graft/mpi/")

# Everything but the tokenizers and what needs MPI.
add_library(graft INTERFACE)
add_library(graft::graft ALIAS graft)
target_compile_features(graft INTERFACE cxx_std_20)
target_link_libraries(graft INTERFACE Eigen3::Eigen nlohmann_json::nlohmann_json)
target_sources(graft INTERFACE FILE_SET HEADERS BASE_DIRS "${graft_include}" FILES ${graft_headers})
# What need libraries that not everybody has are not asked to compile alone.
target_sources(graft INTERFACE
  FILE_SET engines TYPE HEADERS BASE_DIRS "${graft_include}" FILES ${graft_engine_headers})
set_target_properties(graft PROPERTIES INTERFACE_HEADER_SETS_TO_VERIFY HEADERS)
# In an installed graft the package configuration looks for the engine on the machine of the user instead.
target_link_libraries(graft INTERFACE Threads::Threads $<BUILD_INTERFACE:graft::cpu_engine>)

# graft and its tokenizers, which need utf8proc.
if(utf8proc_FOUND)
  add_library(graft_text INTERFACE)
  add_library(graft::text ALIAS graft_text)
  set_target_properties(graft_text PROPERTIES EXPORT_NAME text)
  target_link_libraries(graft_text INTERFACE graft utf8proc::utf8proc)
  target_sources(graft_text INTERFACE
    FILE_SET HEADERS BASE_DIRS "${graft_include}" FILES ${graft_text_headers})
else()
  message(STATUS "graft: utf8proc was not found, so there is no target graft::text (tokenizers)")
endif()

# graft and processes that train together, by MPI.
if(GRAFT_MPI)
  add_library(graft_mpi INTERFACE)
  add_library(graft::mpi ALIAS graft_mpi)
  set_target_properties(graft_mpi PROPERTIES EXPORT_NAME mpi)
  target_link_libraries(graft_mpi INTERFACE graft MPI::MPI_CXX)
  target_sources(graft_mpi INTERFACE
    FILE_SET HEADERS BASE_DIRS "${graft_include}" FILES ${graft_mpi_headers})
endif()

# graft on GPUs. nvcc compiles one file, in the build of whoever links this.
if(GRAFT_CUDA)
  set(graft_cuda_source graft/backend/cuda/kernels.cu)
  add_library(graft_cuda INTERFACE)
  add_library(graft::cuda ALIAS graft_cuda)
  set_target_properties(graft_cuda PROPERTIES EXPORT_NAME cuda)
  # (cuda_std_20 is what CMake calls it from 3.26 on.)
  target_compile_options(graft_cuda INTERFACE $<$<COMPILE_LANGUAGE:CUDA>:-std=c++20>)
  target_link_libraries(graft_cuda INTERFACE graft graft::cublas)
  target_sources(graft_cuda INTERFACE
    FILE_SET HEADERS BASE_DIRS "${graft_include}" FILES ${graft_cuda_headers})
  target_sources(graft_cuda INTERFACE
    $<BUILD_INTERFACE:${graft_include}/${graft_cuda_source}>
    $<INSTALL_INTERFACE:$<INSTALL_PREFIX>/${CMAKE_INSTALL_INCLUDEDIR}/${graft_cuda_source}>)
endif()

# graft with the CPU backend and the plain functions compiled once per target that links this, instead of in
# every file.
set(graft_cpu_source graft/backend/cpu_extern.cpp)
set(graft_plain_source graft/graft_extern.cpp)
add_library(graft_cpu_compiled INTERFACE)
add_library(graft::cpu_compiled ALIAS graft_cpu_compiled)
set_target_properties(graft_cpu_compiled PROPERTIES EXPORT_NAME cpu_compiled)
target_link_libraries(graft_cpu_compiled INTERFACE graft)
target_compile_definitions(graft_cpu_compiled INTERFACE GRAFT_CPU_EXTERN GRAFT_EXTERN)
foreach(source IN ITEMS ${graft_cpu_source} ${graft_plain_source})
  target_sources(graft_cpu_compiled INTERFACE
    $<BUILD_INTERFACE:${graft_include}/${source}>
    $<INSTALL_INTERFACE:$<INSTALL_PREFIX>/${CMAKE_INSTALL_INCLUDEDIR}/${source}>)
endforeach()
