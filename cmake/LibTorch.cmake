# Finds LibTorch's headers and libraries and defines the target qroar_torch.
# We do not call find_package(Torch): with a CUDA wheel it fails where there is no nvcc, and it makes every program load libtorch_cuda (0.5 GB)
# at start-up.  We link libtorch_cpu and libc10; src/ops/device.cpp loads libtorch_cuda at run time when a job asks for a GPU.
# Order: -DTorch_DIR or $Torch_DIR (.../share/cmake/Torch), $QROAR_TORCH or -DQROAR_TORCH (the folder with include/ and lib/), the venv of scripts/setup.
set(QROAR_TORCH "$ENV{QROAR_TORCH}" CACHE PATH "folder of LibTorch with include/ and lib/")
if(NOT Torch_DIR AND DEFINED ENV{Torch_DIR})
  set(Torch_DIR "$ENV{Torch_DIR}")
endif()
if(Torch_DIR)
  get_filename_component(_torch "${Torch_DIR}/../../.." ABSOLUTE)
elseif(QROAR_TORCH)
  get_filename_component(_torch "${QROAR_TORCH}" ABSOLUTE)
else()
  set(_venv "${CMAKE_SOURCE_DIR}/.venv")
  if(DEFINED ENV{QROAR_VENV})
    set(_venv "$ENV{QROAR_VENV}")
  endif()
  file(GLOB _torch "${_venv}/lib/python3*/site-packages/torch")
endif()
if(NOT EXISTS "${_torch}/include/ATen/ATen.h" OR NOT EXISTS "${_torch}/lib/libtorch_cpu.so")
  message(FATAL_ERROR "LibTorch not found (looked in '${_torch}'). Run scripts/setup, or set QROAR_TORCH to a folder with include/ATen and lib/libtorch_cpu.so")
endif()
message(STATUS "LibTorch: ${_torch}")

add_library(qroar_torch INTERFACE)
# -idirafter, not -isystem: the wheel brings its own fmt, nlohmann and protobuf headers, and Debian's must win.
target_compile_options(qroar_torch INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:SHELL:-idirafter ${_torch}/include>")
# at::parallel_for is a template over OpenMP pragmas: without -fopenmp our own loops would silently run on one thread.  At run time the
# wheel's libgomp serves both, since its folder comes first in our RPATH.
target_compile_options(qroar_torch INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fopenmp>)
target_link_options(qroar_torch INTERFACE -fopenmp)
# The wheel's libraries find their neighbours by their own RPATH.
target_link_libraries(qroar_torch INTERFACE "${_torch}/lib/libtorch_cpu.so" "${_torch}/lib/libc10.so")
target_link_options(qroar_torch INTERFACE "-Wl,-rpath,${_torch}/lib" "-Wl,--allow-shlib-undefined")
set(QROAR_TORCH_LIB "${_torch}/lib")
