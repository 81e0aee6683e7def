// Weights as 4-bit codes in the format pack-quantized of compressed-tensors (vLLM, transformers): eight codes in an
// int32, the first in its lowest bits, and a scale for each group of inputs.
#pragma once
#include <map>
#include <optional>
#include <string>

#include "base/json.h"
#include "checkpoint/tensors.h"

namespace qroar {

/// The grid of a linear layer's weight: groups of so many inputs (0: all of a row) with codes from -8 to 7, or, where
/// it is not symmetric, from 0 to 15 less a zero point.
struct PackedGrid {
  int64_t group = 0;
  bool symmetric = true;
  auto operator<=>(const PackedGrid&) const = default;
};

/// The grids of the layers that are packed, by site ("layers.3.mlp.up_proj").
using PackedGrids = std::map<std::string, PackedGrid>;

/// Returns weight_packed, weight_scale (in the weight's dtype), weight_shape and, where the grid is not symmetric,
/// weight_zero_point of a weight [O, I]; code times scale, rounded to the weight's dtype, is the weight bit for bit.
/// Codes and scales are found from the weight alone.  Returns nothing where it is on no such grid.
std::optional<TensorMap> packed_tensors(const at::Tensor& weight_OI, const PackedGrid& grid);

/// Returns the block quantization_config of a config.json.  `grids` by the names of modules, "model." included.
Json packed_config(const PackedGrids& grids, const std::vector<std::string>& not_packed);

}  // namespace qroar
