// T tokens of all sequences, H query heads, K key/value heads, d head_dim.
#include "model/packing.h"

#include <algorithm>

#include "base/error.h"

namespace qroar {
namespace {

struct Rows {
  int64_t begin, end, parent;
};

}  // namespace

bool can_pack(const Llama& model) {
  return std::ranges::all_of(model.layers, [](const DecoderLayer& layer) {
    const HeadTransforms& heads = layer.heads;
    const bool linears_couple =
        std::ranges::any_of(kLayerLinears, [&](const auto linear) { return (layer.*linear).input.couples_tokens; });
    return !linears_couple && heads.residual == 0 && !heads.rotate.couples_tokens && !heads.query.couples_tokens &&
           !heads.key_before_rope.couples_tokens && !heads.key.couples_tokens && !heads.value.couples_tokens;
  });
}

Mixing packed(const std::vector<PackedSequence>& sequences, const ops::RopeAngles& angles) {
  std::vector<Rows> rows;
  std::vector<int64_t> positions;
  for (const PackedSequence& sequence : sequences) {
    const int64_t begin = rows.empty() ? 0 : rows.back().end;
    int64_t first = 0;
    if (sequence.parent >= 0) {
      const Rows& parent = rows.at(static_cast<std::size_t>(sequence.parent));
      check(parent.parent < 0, "a parent has no parent");
      first = parent.end - parent.begin;
    }
    for (int64_t i = 0; i < sequence.length; ++i) positions.push_back(first + i);
    rows.push_back({begin, begin + sequence.length, sequence.parent});
  }
  const at::Tensor position_T = at::tensor(positions, at::kLong).to(angles.cos_TP.device());
  const ops::RopeAngles own{angles.cos_TP.index_select(0, position_T), angles.sin_TP.index_select(0, position_T)};
  return Mixing([rows, own](const DecoderLayer& layer, const at::Tensor& q_THd, const at::Tensor& k_TKd,
                            const at::Tensor& v_TKd) {
    const HeadTransforms& heads = layer.heads;
    const at::Tensor query_THd = heads.read_query(q_THd, own), key_TKd = heads.cached_key(k_TKd, own),
                     value_TKd = heads.value(v_TKd);
    at::Tensor mixed_THd = at::empty_like(query_THd);
    for (const Rows& sequence : rows) {
      const auto with_parent = [&](const at::Tensor& x_TKd) {
        const at::Tensor own_TKd = x_TKd.slice(0, sequence.begin, sequence.end);
        if (sequence.parent < 0) return own_TKd;
        const Rows& parent = rows[static_cast<std::size_t>(sequence.parent)];
        return at::cat({x_TKd.slice(0, parent.begin, parent.end), own_TKd});
      };
      mixed_THd.slice(0, sequence.begin, sequence.end)
          .copy_(ops::causal_attention(query_THd.slice(0, sequence.begin, sequence.end), with_parent(key_TKd),
                                       with_parent(value_TKd)));
    }
    return mixed_THd;
  });
}

}  // namespace qroar
