# The transport of Open MPI: a library of its own, built where MPI's headers are.
set(RESNET_NODES_MPI AUTO CACHE STRING "the library for several processes by Open MPI: AUTO (where it is found), ON or OFF")
set_property(CACHE RESNET_NODES_MPI PROPERTY STRINGS AUTO ON OFF)

if(RESNET_NODES_MPI AND NOT SANITIZERS)
  set(MPI_CXX_SKIP_MPICXX ON)
  if(RESNET_NODES_MPI STREQUAL "AUTO")
    find_package(MPI QUIET COMPONENTS CXX)
  else()
    find_package(MPI REQUIRED COMPONENTS CXX)
  endif()
endif()

if(MPI_CXX_FOUND)
  message(STATUS "Open MPI: ${MPI_CXX_LIBRARIES}")
  add_library(resnet_nodes_mpi SHARED native/transports/mpi.cpp)
  target_include_directories(resnet_nodes_mpi PRIVATE native/include native/src)
  target_link_libraries(resnet_nodes_mpi PRIVATE MPI::MPI_CXX project_options)
  target_link_options(resnet_nodes_mpi PRIVATE LINKER:--no-undefined)
  set_target_properties(resnet_nodes_mpi PROPERTIES BUILD_WITH_INSTALL_RPATH ON)
  # Whoever builds the one gets the other: it is loaded on demand.
  add_dependencies(resnet_nodes resnet_nodes_mpi)
  install(TARGETS resnet_nodes_mpi LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()
