// Named tensors to and from safetensors files.
#pragma once
#include <ATen/ATen.h>

#include <filesystem>
#include <map>
#include <string>

#include "checkpoint/safetensors.h"

namespace qroar {

using TensorMap = std::map<std::string, at::Tensor>;

/// An Error that names `place` for a dtype that is no floating point number.
at::ScalarType floating_type(Dtype dtype, const std::string& place);

/// A tensor over the mapped bytes, which live as long as it does.  An Error that names `place` for a dtype that is no
/// floating point number.
at::Tensor tensor_of(const TensorView& view, const std::string& place);

/// Writes a safetensors file atomically, one tensor after the other; they may lie on any device.
void write_tensors(const std::filesystem::path& path, const TensorMap& tensors);

/// Reads what write_tensors() wrote, onto a device.
TensorMap read_tensors(const std::filesystem::path& path, const at::Device& device);

}  // namespace qroar
