# kernels.cmake: the loops of the CPU, once for each kernel path. A path is a file in native/src/kernels/paths, which
# states the processor that it is for and the compiler's flags in comments:
#   // processor: x86_64      or `any`
#   // flags: -mavx2 -mfma
#   // bfloat16: -mavx512bf16      or no such line: further flags of the loops for bfloat16
# It is compiled once for each family of loops, for these differ in what the compiler may do: the steps without
# contraction, so that every path gives the same bits; the loops of functions live by multiply-add.
set(KERNEL_LOOPS_steps kernels/steps/steps.inl)
set(KERNEL_LOOPS_conv kernels/conv/conv.inl)
set(KERNEL_LOOPS_mlp kernels/mlp/mlp.inl)
set(KERNEL_CONTRACTION_steps off)
set(KERNEL_CONTRACTION_conv fast)
set(KERNEL_CONTRACTION_mlp fast)
set(KERNEL_LOOPS_bfloat16 kernels/conv/conv_bfloat16.inl)
set(KERNEL_CONTRACTION_bfloat16 fast)

string(REGEX REPLACE "^(AMD64|amd64)$" "x86_64" this_processor "${CMAKE_SYSTEM_PROCESSOR}")
file(GLOB path_files CONFIGURE_DEPENDS native/src/kernels/paths/*.cpp)
# The list of the paths and the choice among them.
list(FILTER path_files EXCLUDE REGEX "/kernel_path\\.cpp$")

# What the path's file states behind `// KEY:`. With OPTIONAL it may state nothing.
function(read_kernel_path file key result)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${file}")
  file(STRINGS "${file}" line REGEX "^// ${key}:" LIMIT_COUNT 1)
  if(NOT line AND NOT "OPTIONAL" IN_LIST ARGN)
    message(FATAL_ERROR "${file} lacks a line '// ${key}: ...'; docs/adding-a-kernel-path.md says what a path states")
  endif()
  string(REGEX REPLACE "^// ${key}: *" "" value "${line}")
  separate_arguments(value UNIX_COMMAND "${value}")
  set(${result} "${value}" PARENT_SCOPE)
endfunction()

# RESNET_NODES_KERNEL_PATHS: the names of the paths that are compiled.
set(RESNET_NODES_KERNEL_PATHS)
foreach(file IN LISTS path_files)
  read_kernel_path("${file}" processor processor)
  read_kernel_path("${file}" flags flags)
  read_kernel_path("${file}" bfloat16 KERNEL_FLAGS_bfloat16 OPTIONAL)
  if(NOT processor STREQUAL "any" AND NOT processor STREQUAL this_processor)
    continue()
  endif()
  get_filename_component(path "${file}" NAME_WE)
  list(APPEND RESNET_NODES_KERNEL_PATHS ${path})
  set(families steps conv mlp)
  if(KERNEL_FLAGS_bfloat16)
    list(APPEND families bfloat16)
  endif()
  foreach(family IN LISTS families)
    set(objects kernels_${path}_${family})
    add_library(${objects} OBJECT "${file}")
    target_include_directories(${objects} PRIVATE native/src)
    target_compile_definitions(${objects} PRIVATE KERNEL_PATH=${path} "KERNEL_LOOPS=\"${KERNEL_LOOPS_${family}}\"")
    target_compile_options(${objects} PRIVATE ${flags} ${KERNEL_FLAGS_${family}} -O3
      -ffp-contract=${KERNEL_CONTRACTION_${family}} -Wno-psabi)
    target_link_libraries(${objects} PRIVATE project_options)
    if(RESNET_NODES_SANITIZE AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
      # The stack frames that AddressSanitizer makes to find uses after a return are aligned to 32 bytes; registers of
      # AVX-512 need 64.
      target_compile_options(${objects} PRIVATE "SHELL:--param asan-use-after-return=0")
    endif()
    target_link_libraries(engine INTERFACE $<TARGET_OBJECTS:${objects}>)
  endforeach()
endforeach()
