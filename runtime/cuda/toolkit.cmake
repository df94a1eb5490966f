# The target timepipe_cuda: what CUDA sources compile and link with, and
# timepipe_compile_cuda() for those of device code.
#
# TIMEPIPE_HOST_CUDA: on the CPU, in the layer of the tests
# (tests/support/hostcuda), which takes the place of CUDA's libraries; of the
# toolkit it needs the headers alone.
#
# nvcc is called by commands of our own: this CMake's rules for it don't know
# C++20.

set(hints ${CMAKE_SOURCE_DIR}/build/cuda-toolkit $ENV{CUDA_HOME} /usr/local/cuda)
find_program(NVCC nvcc HINTS ${hints} PATH_SUFFIXES bin)
if(NVCC)
  cmake_path(GET NVCC PARENT_PATH toolkit)
  cmake_path(GET toolkit PARENT_PATH toolkit)
  list(PREPEND hints ${toolkit})
endif()
find_path(CUDA_INCLUDE cublas_v2.h HINTS ${hints} PATH_SUFFIXES include)
if(NOT CUDA_INCLUDE)
  message(FATAL_ERROR "no CUDA toolkit: launcher/setup.sh --cuda installs one")
endif()

add_library(timepipe_cuda INTERFACE)
target_link_libraries(timepipe_cuda INTERFACE timepipe_flags)
target_include_directories(timepipe_cuda SYSTEM INTERFACE ${CUDA_INCLUDE})

if(TIMEPIPE_HOST_CUDA)
  target_compile_definitions(timepipe_cuda INTERFACE TIMEPIPE_HOST_CUDA)
  add_subdirectory(${CMAKE_SOURCE_DIR}/tests/support/hostcuda hostcuda)
  target_link_libraries(timepipe_cuda INTERFACE timepipe_hostcuda)

  # timepipe_compile_cuda(LIBRARY LAUNCHES SOURCE...): .cu files become part of
  # LIBRARY; LAUNCHES is the target of the sources that launch what is in them.
  function(timepipe_compile_cuda library launches)
    set_source_files_properties(${ARGN} PROPERTIES
      LANGUAGE CXX COMPILE_OPTIONS "-x;c++")
    target_sources(${launches} PRIVATE ${ARGN})
  endfunction()
  return()
endif()

if(NOT NVCC)
  message(FATAL_ERROR "no nvcc: launcher/setup.sh --cuda installs one")
endif()
foreach(library cudart_static cublas)
  find_library(CUDA_${library} ${library} HINTS ${hints} REQUIRED
    PATH_SUFFIXES lib lib64 targets/x86_64-linux/lib)
endforeach()
# cudart looks for the driver when it is used: the program starts without one.
target_link_libraries(timepipe_cuda INTERFACE
  ${CUDA_cudart_static} ${CUDA_cublas} Threads::Threads ${CMAKE_DL_LIBS} rt)

# All kernels use what compute capability 8.0 has; later devices run its PTX.
set(TIMEPIPE_CUDA_CODE sm_90 CACHE STRING
  "Devices that machine code is made for, besides PTX for all others")
list(JOIN TIMEPIPE_CUDA_CODE "," code)
set(nvcc_command ${NVCC} -std=c++20 -O3 -I${CMAKE_SOURCE_DIR}
  # Launch code, which g++ compiles, takes the addresses of kernels.
  -static-global-template-stub=false
  -gencode arch=compute_80,code=[${code},compute_80] -Werror all-warnings)
if(CCACHE)
  list(PREPEND nvcc_command ${CCACHE})
endif()

function(timepipe_compile_cuda library launches)
  foreach(source ${ARGN})
    set(object ${CMAKE_CURRENT_BINARY_DIR}/${source}.o)
    cmake_path(GET object PARENT_PATH folder)
    file(MAKE_DIRECTORY ${folder})
    add_custom_command(OUTPUT ${object}
      COMMAND ${nvcc_command} -MD -MF ${object}.d
        -c ${CMAKE_CURRENT_SOURCE_DIR}/${source} -o ${object}
      DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${source} ${NVCC}
      DEPFILE ${object}.d
      COMMENT "nvcc ${source}" VERBATIM)
    target_sources(${library} PRIVATE ${object})
  endforeach()
endfunction()
