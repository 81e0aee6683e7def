// Launches of successive kernels for one token, each a few microseconds long: on a Hopper GPU the next kernel starts
// while the last blocks of the previous one finish (programmatic dependent launch), loads what does not depend on it,
// and waits.
#pragma once
#include "ops/cuda/row.cuh"

namespace qroar::ops::kernels {

/// Waits until the previous kernel, and all before it, have ended.  Every block of a kernel started by
/// launch_dependent() must call this before it reads or writes anything that changes.
__device__ inline void wait_for_previous_kernel() {
#if __CUDA_ARCH__ >= 900
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
#endif
}

struct DeviceShape {
  int multiprocessors = 0;
  bool can_launch_behind = false;
};

inline DeviceShape device_shape() {
  int device = 0, major = 0;
  DeviceShape shape;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&shape.multiprocessors, cudaDevAttrMultiProcessorCount, device);
  cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  shape.can_launch_behind = major >= 9;
  return shape;
}

/// Launches a kernel after the previous one; converts the arguments to the kernel's parameters.
template <class... Parameters, class... Arguments>
void launch_dependent(const DeviceShape& shape, void (*kernel)(Parameters...), dim3 grid, unsigned threads,
                      int64_t shared_bytes, const Arguments&... arguments) {
  cudaLaunchAttribute early{};
  early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  early.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = threads;
  config.dynamicSmemBytes = static_cast<size_t>(shared_bytes);
  config.attrs = &early;
  config.numAttrs = shape.can_launch_behind ? 1 : 0;
  cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
}

}  // namespace qroar::ops::kernels
