// Dimensions: O outputs and I inputs of a layer, N groups of S weights, R rows and C columns of codes.
#include "checkpoint/packed.h"

#include "base/error.h"

namespace qroar {
namespace {

constexpr int64_t kMost = 15, kHalf = 8, kPerWord = 8;

/// Returns positive numbers that lie so many steps of their dtype above x.
at::Tensor stepped(const at::Tensor& x, int64_t steps) {
  const auto bits = x.element_size() == 2 ? at::kShort : x.element_size() == 4 ? at::kInt : at::kLong;
  return (x.contiguous().view(bits) + steps).to(bits).view(x.scalar_type());
}

/// Codes k and scales s with round(k s) = w, where `found`.
struct Codes {
  at::Tensor k_NS, scale_N1, found_N;
};

/// Tries every whole number that the largest weight of a group may be a multiple by, and scales next to their quotient.
Codes find_codes(const at::Tensor& w_NS, bool symmetric) {
  const auto dtype = w_NS.scalar_type();
  const auto wide = dtype == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor top_N1 = w_NS.to(wide).abs().amax(1, /*keepdim=*/true);
  Codes codes{at::zeros(w_NS.sizes(), w_NS.options().dtype(at::kLong)), at::ones_like(top_N1).to(dtype),
              (top_N1 == 0).squeeze(1)};
  for (int64_t multiple = 1; multiple <= (symmetric ? kHalf : kMost); ++multiple) {
    for (const int64_t steps : {0, -1, 1, -2, 2}) {
      const at::Tensor left_M = codes.found_N.logical_not().nonzero().squeeze(1);
      if (left_M.size(0) == 0) return codes;
      const at::Tensor w_MS = w_NS.index_select(0, left_M);
      const at::Tensor scale_M1 =
          stepped((top_N1.index_select(0, left_M) / static_cast<double>(multiple)).to(dtype), steps);
      const at::Tensor k_MS = at::round(w_MS.to(wide) / scale_M1.to(wide));
      const at::Tensor low_M = k_MS.amin(1), high_M = k_MS.amax(1);
      const at::Tensor fits_M = symmetric ? (low_M >= -kHalf).logical_and(high_M < kHalf)
                                          : (high_M.clamp_min(0) - low_M.clamp_max(0) <= kMost);
      const at::Tensor same_M = ((k_MS * scale_M1.to(wide)).to(dtype) == w_MS).all(1);
      const at::Tensor hit = fits_M.logical_and(same_M).nonzero().squeeze(1), rows = left_M.index_select(0, hit);
      codes.k_NS.index_copy_(0, rows, k_MS.index_select(0, hit).to(at::kLong));
      codes.scale_N1.index_copy_(0, rows, scale_M1.index_select(0, hit));
      codes.found_N.index_fill_(0, rows, true);
    }
  }
  return codes;
}

/// Packs numbers from 0 to 15 along the columns.
at::Tensor packed(const at::Tensor& codes_RC) {
  const int64_t R = codes_RC.size(0), C = codes_RC.size(1), words = (C + kPerWord - 1) / kPerWord;
  at::Tensor padded = at::zeros({R, words * kPerWord}, codes_RC.options());
  padded.slice(1, 0, C).copy_(codes_RC);
  const at::Tensor shift = at::arange(kPerWord, codes_RC.options()) * 4;
  return padded.view({R, words, kPerWord}).bitwise_left_shift(shift).sum(2).to(at::kInt);
}

Json group_config(const PackedGrid& grid, const std::vector<std::string>& targets) {
  return {{"targets", targets},
          {"weights",
           {{"num_bits", 4},
            {"type", "int"},
            {"symmetric", grid.symmetric},
            {"strategy", grid.group == 0 ? "channel" : "group"},
            {"group_size", grid.group == 0 ? Json() : Json(grid.group)},
            {"dynamic", false},
            {"actorder", nullptr}}},
          {"input_activations", nullptr},
          {"output_activations", nullptr},
          {"format", "pack-quantized"}};
}

}  // namespace

std::optional<TensorMap> packed_tensors(const at::Tensor& weight_OI, const PackedGrid& grid) {
  const int64_t O = weight_OI.size(0), I = weight_OI.size(1), size = grid.group == 0 ? I : grid.group;
  const Codes codes = find_codes(weight_OI.contiguous().view({-1, size}), grid.symmetric);
  if (!codes.found_N.all().item<bool>()) return std::nullopt;
  const at::Tensor zero_N1 = grid.symmetric ? at::full_like(codes.k_NS.slice(1, 0, 1), kHalf)
                                            : -codes.k_NS.amin(1, /*keepdim=*/true).clamp_max(0);
  TensorMap tensors{{"weight_packed", packed((codes.k_NS + zero_N1).view({O, I}))},
                    {"weight_scale", codes.scale_N1.view({O, -1})},
                    {"weight_shape", at::tensor({O, I}, at::kLong)}};
  if (!grid.symmetric) tensors["weight_zero_point"] = packed(zero_N1.view({O, -1}).t()).t().contiguous();
  return tensors;
}

Json packed_config(const PackedGrids& grids, const std::vector<std::string>& not_packed) {
  std::map<PackedGrid, std::vector<std::string>> by_grid;
  for (const auto& [module, grid] : grids) by_grid[grid].push_back(module);
  Json groups = Json::object();
  for (const auto& [grid, modules] : by_grid) {
    groups[fmt::format("group_{}", groups.size())] =
        group_config(grid, by_grid.size() == 1 ? std::vector<std::string>{"Linear"} : modules);
  }
  return {{"quant_method", "compressed-tensors"},
          {"format", "pack-quantized"},
          {"quantization_status", "compressed"},
          {"config_groups", groups},
          {"ignore", not_packed},
          {"kv_cache_scheme", nullptr}};
}

}  // namespace qroar
