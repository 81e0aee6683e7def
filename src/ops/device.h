// Devices: `device: auto | cpu | cuda | cuda:N`, the late load of libtorch_cuda, and memory figures of the device a job
// runs on.
#pragma once
#include <ATen/ATen.h>

#include <string>

namespace qroar::ops {

/// Loads libtorch_cuda beside libtorch_cpu when the driver is there; true when ATen then sees a device.  The first call
/// decides.
bool cuda_available();
/// How many of them this process sees.
int64_t cuda_device_count();

/// An Error for any text but auto, cpu, cuda and cuda:N; whether the device is there is not asked.
void check_device_name(const std::string& name);

/// auto is the first GPU, else the CPU; an Error when a GPU is asked for that is not there.
at::Device parse_device(const std::string& name);

/// Does this CPU multiply float16 numbers (AVX512-FP16), so that a model of them is not many times slower than float32?
bool cpu_has_float16();

/// "AMD EPYC", "NVIDIA H200".
std::string device_name(const at::Device& device);

/// Bytes a job may still take: free memory of the device; on the CPU MemAvailable, within the cgroup's limit.
int64_t available_bytes(const at::Device& device);

/// Peak use since the last reset: the allocator's on a GPU, the process' resident set on the CPU.
void reset_peak_bytes(const at::Device& device);
int64_t peak_bytes(const at::Device& device);

/// Waits until the device has done all work queued so far, so that a clock read after it is honest.
void synchronize(const at::Device& device);

}  // namespace qroar::ops
