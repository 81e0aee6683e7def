// The program links only libtorch_cpu: libtorch_cuda and its dependencies take seconds to load, so only a job that may
// use a GPU loads them.
#include "ops/device.h"

#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <dlfcn.h>
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "base/cgroup.h"
#include "base/error.h"
#include "base/number.h"
#include "ops/cpu/instruction_sets.h"

namespace qroar::ops {
namespace {

/// Returns the number after `key` in a /proc file of lines "key: N kB", converted to bytes.
int64_t proc_kilobytes(const char* file, const std::string& key) {
  std::ifstream in(file);
  for (std::string word; in >> word;) {
    if (int64_t value = 0; word == key && in >> value) return value * 1024;
  }
  fail("{}: no field {}", file, key);
}

/// Returns the N of cuda:N, 0 for a name without a number, or a negative value where N is not a number.
int cuda_index(const std::string& name) {
  const std::string index = name.starts_with("cuda:") ? name.substr(5) : "0";
  int number = 0;
  return read_number(index, number) == std::errc() ? number : -1;
}

bool load_libtorch_cuda() {
  if (dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL) == nullptr) return false;  // no driver, no device
  Dl_info torch_cpu;
  check(dladdr(reinterpret_cast<void*>(&at::globalContext), &torch_cpu) != 0, "libtorch_cpu's path is known");
  const auto library = std::filesystem::path(torch_cpu.dli_fname).parent_path() / "libtorch_cuda.so";
  if (!std::filesystem::exists(library)) return false;  // a CPU-only LibTorch
  if (dlopen(library.c_str(), RTLD_NOW | RTLD_GLOBAL) == nullptr) fail("{}: {}", library.string(), dlerror());
  return at::globalContext().hasCUDA() && at::detail::getCUDAHooks().deviceCount() > 0;
}

c10::DeviceAllocator& allocator(const at::Device& device) { return *c10::getDeviceAllocator(device.type()); }

}  // namespace

bool cuda_available() {
  static const bool available = load_libtorch_cuda();
  return available;
}

int64_t cuda_device_count() { return cuda_available() ? at::detail::getCUDAHooks().deviceCount() : 0; }

void check_device_name(const std::string& name) {
  if (name == "auto" || name == "cpu" || name == "cuda") return;
  if (!name.starts_with("cuda:") || cuda_index(name) < 0)
    fail("device '{}' is not known; write auto, cpu, cuda or cuda:N", name);
}

bool names_cpu(const std::string& name) { return name == "cpu" || (name == "auto" && !cuda_available()); }

at::Device parse_device(const std::string& name) {
  check_device_name(name);
  if (name == "cpu") return at::kCPU;
  const bool automatic = name == "auto";
  const int number = cuda_index(name);
  if (!cuda_available()) {
    if (automatic) return at::kCPU;
    fail(
        "device {} is not there: no GPU, no driver (libcuda.so.1) or a LibTorch without CUDA; write device: cpu or "
        "auto",
        name);
  }
  const int64_t count = cuda_device_count();
  if (number >= count) fail("device {} is not there: this machine has {} (cuda:0 to cuda:{})", name, count, count - 1);
  return {at::kCUDA, static_cast<at::DeviceIndex>(number)};
}

bool cpu_has_float16() {
#ifdef __x86_64__
  return __builtin_cpu_supports("avx512fp16") != 0;
#else
  return false;
#endif
}

std::string cpu_capability() {
  return at::get_cpu_capability() + (cpu::has_avx512_bf16() ? " BF16" : "") + (cpu::has_amx_bf16() ? " AMX" : "");
}

std::string device_name(const at::Device& device) {
  if (device.is_cpu()) {
    std::ifstream in("/proc/cpuinfo");
    for (std::string line; std::getline(in, line);) {
      if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
    }
    return "CPU";
  }
  using DeviceGet = int (*)(int*, int);
  using DeviceGetName = int (*)(char*, int, int);
  const auto get = reinterpret_cast<DeviceGet>(dlsym(RTLD_DEFAULT, "cuDeviceGet"));
  const auto get_name = reinterpret_cast<DeviceGetName>(dlsym(RTLD_DEFAULT, "cuDeviceGetName"));
  int handle = 0;
  char name[256] = {};
  check(get != nullptr && get_name != nullptr && get(&handle, device.index()) == 0 && get_name(name, 255, handle) == 0,
        "the driver names its device");
  return name;
}

int64_t available_bytes(const at::Device& device) {
  if (device.is_cuda()) {
    c10::DeviceAllocator& own = allocator(device);
    const auto free = static_cast<int64_t>(own.getMemoryInfo(device.index()).first);
    if (!own.initialized()) return free;
    // What the allocator keeps of tensors that are gone is not free to the driver, but to us.
    const auto stats = own.getDeviceStats(device.index());
    return free + stats.reserved_bytes[0].current - stats.allocated_bytes[0].current;
  }
  return std::min(proc_kilobytes("/proc/meminfo", "MemAvailable:"), cgroup_headroom());
}

void reset_peak_bytes(const at::Device& device) {
  if (device.is_cuda()) {
    allocator(device).resetPeakStats(device.index());
  } else {
    std::ofstream("/proc/self/clear_refs")
        << "5";  // resets VmHWM; where it is not writable, the peak is that of the process' lifetime
  }
}

int64_t peak_bytes(const at::Device& device) {
  if (device.is_cuda()) return allocator(device).getDeviceStats(device.index()).allocated_bytes[0].peak;
  return proc_kilobytes("/proc/self/status", "VmHWM:");
}

void keep_freed_memory() {
  mallopt(M_MMAP_THRESHOLD, 32 << 20);  // the most that older C libraries take, and what they would grow to
  mallopt(M_TRIM_THRESHOLD, 256 << 20);
}

void use_whole_float32() {
  at::Context& context = at::globalContext();
  context.setFloat32MatmulPrecision("highest");
  // Parts of a sum that cuBLAS splits are added in float32, too.
  context.setAllowBF16ReductionCuBLAS(false);
  context.setAllowFP16ReductionCuBLAS(false);
}

void synchronize(const at::Device& device) {
  if (device.is_cuda()) c10::impl::VirtualGuardImpl(device.type()).synchronizeDevice(device.index());
}

}  // namespace qroar::ops
