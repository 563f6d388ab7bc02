# SPDX-License-Identifier: MIT
# Headers and a package for find_package(graft).
include(CMakePackageConfigHelpers)

set(graft_package "${CMAKE_INSTALL_DATADIR}/cmake/graft")

install(TARGETS graft graft_cpu_compiled EXPORT graft-targets FILE_SET HEADERS FILE_SET engines)
install(EXPORT graft-targets NAMESPACE graft:: DESTINATION "${graft_package}")
install(FILES "${graft_include}/${graft_cpu_source}"
        DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/graft/backend")
install(FILES "${graft_include}/${graft_plain_source}" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/graft")

install(FILES "${PROJECT_SOURCE_DIR}/cmake/graft_cpu_engine.cmake" DESTINATION "${graft_package}")

# Exported on its own, so that a user without utf8proc still gets the rest.
if(TARGET graft_text)
  install(TARGETS graft_text EXPORT graft-text-targets FILE_SET HEADERS)
  install(EXPORT graft-text-targets NAMESPACE graft:: DESTINATION "${graft_package}")
  install(FILES "${PROJECT_SOURCE_DIR}/cmake/Findutf8proc.cmake" DESTINATION "${graft_package}")
endif()

# So that only those who ask for it need MPI.
if(TARGET graft_mpi)
  install(TARGETS graft_mpi EXPORT graft-mpi-targets FILE_SET HEADERS)
  install(EXPORT graft-mpi-targets NAMESPACE graft:: DESTINATION "${graft_package}")
endif()

# So that only those who ask for it need CUDA.
if(TARGET graft_cuda)
  install(TARGETS graft_cuda EXPORT graft-cuda-targets FILE_SET HEADERS)
  install(EXPORT graft-cuda-targets NAMESPACE graft:: DESTINATION "${graft_package}")
  install(FILES "${graft_include}/${graft_cuda_source}"
          DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/graft/backend/cuda")
  install(FILES "${PROJECT_SOURCE_DIR}/cmake/graft_find_cublas.cmake" DESTINATION "${graft_package}")
endif()

configure_package_config_file(cmake/graft-config.cmake.in graft-config.cmake
                              INSTALL_DESTINATION "${graft_package}")
write_basic_package_version_file(graft-config-version.cmake
                                 COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES "${PROJECT_BINARY_DIR}/graft-config.cmake"
              "${PROJECT_BINARY_DIR}/graft-config-version.cmake"
        DESTINATION "${graft_package}")
