// Reads and writes named tensors as safetensors files.
#pragma once
#include <ATen/ATen.h>

#include <filesystem>
#include <map>
#include <string>

#include "checkpoint/safetensors.h"

namespace qroar {

using TensorMap = std::map<std::string, at::Tensor>;

/// Returns the torch dtype.  Throws an Error that names `place` for a dtype that is not floating-point.
at::ScalarType floating_type(Dtype dtype, const std::string& place);

/// Returns a tensor over the mapped bytes, which it keeps alive.  Throws an Error that names `place` for a dtype that
/// is not floating-point.
at::Tensor tensor_of(const TensorView& view, const std::string& place);

/// Writes a safetensors file atomically, one tensor after the other; the tensors may be on any device.
void write_tensors(const std::filesystem::path& path, const TensorMap& tensors);

/// Reads a file of write_tensors() to a device.
TensorMap read_tensors(const std::filesystem::path& path, const at::Device& device);

}  // namespace qroar
