# cuda.cmake: the engine's CUDA kernels, where they are wanted and can be compiled. They include no LibTorch header, and
# CUDA's run time is linked statically: the library loads where there is no CUDA.
include(CheckLanguage)

if(NOT RESNET_NODES_CUDA STREQUAL "OFF")
  check_language(CUDA)
  if(NOT CMAKE_CUDA_COMPILER AND NOT RESNET_NODES_CUDA STREQUAL "AUTO")
    message(FATAL_ERROR "RESNET_NODES_CUDA=${RESNET_NODES_CUDA}, but no CUDA compiler works here; "
                        "name one by -DCMAKE_CUDA_COMPILER=/path/to/nvcc or CUDACXX")
  endif()
endif()

if(RESNET_NODES_CUDA STREQUAL "OFF" OR NOT CMAKE_CUDA_COMPILER)
  message(STATUS "CUDA kernels: none; CUDA tensors go by LibTorch's operators")
  target_sources(engine PRIVATE native/src/kernels/cuda/no_cuda.cpp)
  return()
endif()

# Unless told otherwise: every architecture from sm_70 on that the compiler knows, and PTX of the newest for those to
# come. Before the language is enabled, which would choose one itself.
if(NOT RESNET_NODES_CUDA_ARCHITECTURES AND CMAKE_CUDA_ARCHITECTURES)
  set(RESNET_NODES_CUDA_ARCHITECTURES "${CMAKE_CUDA_ARCHITECTURES}")
endif()
if(NOT RESNET_NODES_CUDA_ARCHITECTURES)
  execute_process(COMMAND "${CMAKE_CUDA_COMPILER}" --list-gpu-arch OUTPUT_VARIABLE known COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL "[0-9]+" known "${known}")
  list(REMOVE_DUPLICATES known)
  list(SORT known COMPARE NATURAL)
  foreach(architecture IN LISTS known)
    if(architecture GREATER_EQUAL 70)
      list(APPEND RESNET_NODES_CUDA_ARCHITECTURES "${architecture}-real")
      set(newest "${architecture}")
    endif()
  endforeach()
  list(APPEND RESNET_NODES_CUDA_ARCHITECTURES "${newest}-virtual")
endif()
set(CMAKE_CUDA_ARCHITECTURES "${RESNET_NODES_CUDA_ARCHITECTURES}")
# CMake 3.25 knows no later standard for nvcc, and the kernels need none.
set(CMAKE_CUDA_STANDARD 17)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_EXTENSIONS OFF)
enable_language(CUDA)
find_library(CUDART_STATIC cudart_static PATHS ${CMAKE_CUDA_IMPLICIT_LINK_DIRECTORIES} NO_CMAKE_SYSTEM_PATH REQUIRED)

file(GLOB CUDA_SOURCES CONFIGURE_DEPENDS native/src/kernels/cuda/*.cu)
add_library(cuda_kernels OBJECT ${CUDA_SOURCES})
target_include_directories(cuda_kernels PRIVATE native/src)
target_compile_options(cuda_kernels PRIVATE -Xcompiler=-Wall,-Wextra --expt-relaxed-constexpr)
set_target_properties(cuda_kernels PROPERTIES CUDA_RUNTIME_LIBRARY Static COMPILE_WARNING_AS_ERROR OFF)

find_package(Threads REQUIRED)
# As objects and plain libraries: the C++ linker joins them, with no symbol of CUDA's run time left to be seen.
target_link_libraries(engine INTERFACE $<TARGET_OBJECTS:cuda_kernels> "${CUDART_STATIC}" Threads::Threads
                                       ${CMAKE_DL_LIBS} rt)
target_link_options(engine INTERFACE "LINKER:--exclude-libs,libcudart_static.a")
message(STATUS "CUDA kernels: ${CMAKE_CUDA_COMPILER} for ${CMAKE_CUDA_ARCHITECTURES}")
