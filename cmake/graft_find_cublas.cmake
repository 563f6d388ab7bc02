# SPDX-License-Identifier: MIT
# The imported target graft::cublas: the CUDA runtime, cuBLAS and cuBLASLt, of the toolkit or, where that
# came without, of anywhere in CMAKE_PREFIX_PATH. Sets graft_cublas_FOUND, or graft_cublas_lacks.

find_package(CUDAToolkit 12 QUIET)
set(graft_cublas_FOUND FALSE)
if(NOT CUDAToolkit_FOUND)
  set(graft_cublas_lacks "a CUDA toolkit from 12 on")
  return()
endif()
find_path(graft_cublas_include cublas_v2.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
find_library(graft_cublas_library NAMES cublas libcublas.so.13 libcublas.so.12
             HINTS ${CUDAToolkit_LIBRARY_DIR})
find_library(graft_cublaslt_library NAMES cublasLt libcublasLt.so.13 libcublasLt.so.12
             HINTS ${CUDAToolkit_LIBRARY_DIR})
mark_as_advanced(graft_cublas_include graft_cublas_library graft_cublaslt_library)
if(NOT graft_cublas_include OR NOT graft_cublas_library OR NOT graft_cublaslt_library)
  set(graft_cublas_lacks "cuBLAS")
  return()
endif()
set(graft_cublas_FOUND TRUE)
if(NOT TARGET graft::cublas)
  add_library(graft::cublas INTERFACE IMPORTED GLOBAL)
  target_include_directories(graft::cublas SYSTEM INTERFACE "${graft_cublas_include}")
  target_link_libraries(graft::cublas INTERFACE
    CUDA::cudart "${graft_cublas_library}" "${graft_cublaslt_library}")
endif()
