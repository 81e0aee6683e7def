// Devices: `device: auto | cpu | cuda | cuda:N`, the deferred loading of libtorch_cuda, and the memory use of a job's
// device.
#pragma once
#include <ATen/ATen.h>

#include <string>

namespace qroar::ops {

/// Loads libtorch_cuda in addition to libtorch_cpu if there is a driver, and returns whether ATen then sees a device.
/// Later calls return the result of the first.
bool cuda_available();
/// Returns the number of CUDA devices that this process sees.
int64_t cuda_device_count();

/// Throws an Error for any text except auto, cpu, cuda and cuda:N; does not check that the device exists.
void check_device_name(const std::string& name);

/// Returns whether a name is the CPU's here; that of a GPU need not exist.
bool names_cpu(const std::string& name);

/// Returns the device of a name; auto is the first GPU, else the CPU.  Throws an Error when a requested GPU does not
/// exist.
at::Device parse_device(const std::string& name);

/// Returns whether this CPU has float16 arithmetic (AVX512-FP16), without which float16 models are many times slower
/// than float32.
bool cpu_has_float16();

/// Returns the instruction sets of this CPU by which ATen, oneDNN and our kernels choose: ATen's name for its own, then
/// BF16 and AMX where they are used; "AVX512 BF16 AMX".
std::string cpu_capability();

/// Returns a name such as "AMD EPYC" or "NVIDIA H200".
std::string device_name(const at::Device& device);

/// Returns the bytes a job may still use: the free memory of a GPU; on the CPU MemAvailable, within the cgroups'
/// limits.
int64_t available_bytes(const at::Device& device);

/// The peak memory use since the last reset: that of the allocator on a GPU, of the process' resident set on the CPU.
void reset_peak_bytes(const at::Device& device);
int64_t peak_bytes(const at::Device& device);

/// Lets the heap keep what tensors leave instead of giving it back to the system, which clears each page anew: a
/// twelfth of the time of a window of 4096 tokens of a model with a hidden size of 1024.  What is larger than 32 MiB is
/// still given back, as is what lies free at the heap's end beyond 256 MiB.
void keep_freed_memory();

/// Makes products of float32 matrices use all bits of float32 on every device, whatever the environment says:
/// TORCH_ALLOW_TF32_CUBLAS_OVERRIDE, which containers of GPUs set, asks for TF32.
void use_whole_float32();

/// Waits until the device has finished all queued work, so that time measured afterwards includes it.
void synchronize(const at::Device& device);

}  // namespace qroar::ops
