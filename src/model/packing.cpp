// T tokens of all sequences, H query heads, K key/value heads, d head_dim.
#include "model/packing.h"

#include <algorithm>

#include "base/error.h"

namespace qroar {

bool can_pack(const Llama& model) {
  return std::ranges::none_of(model.layers, [](const DecoderLayer& layer) { return layer.heads.couples_tokens(); });
}

SharedPrefix::SharedPrefix(const Llama& model, const at::Tensor& tokens_P, const ops::RopeAngles& angles, int64_t room)
    : length_(tokens_P.size(0)) {
  const Attention keeping([&, own = angles.slice(0, length_)](const DecoderLayer& layer, const at::Tensor& q_PHd,
                                                              const at::Tensor& k_PKd, const at::Tensor& v_PKd) {
    const HeadTransforms& heads = layer.heads;
    const at::Tensor query_PHd = heads.read_query(q_PHd, own), key_PKd = heads.cached_key(k_PKd, own),
                     value_PKd = heads.value(v_PKd);
    kept_[&layer] = ops::keep_prefix(query_PHd, key_PKd, value_PKd, room, layer.attention);
    return ops::causal_attention(query_PHd, key_PKd, value_PKd, layer.attention);
  });
  forward(model, tokens_P, keeping);
}

Attention packed(const std::vector<PackedSequence>& sequences, const ops::RopeAngles& angles,
                 const SharedPrefix* prefix) {
  const int64_t before = prefix == nullptr ? 0 : prefix->length();
  std::vector<ops::SequenceRows> rows;
  std::vector<int64_t> positions;
  for (const PackedSequence& sequence : sequences) {
    const int64_t begin = rows.empty() ? 0 : rows.back().end;
    int64_t first = before;
    if (sequence.parent >= 0) {
      const ops::SequenceRows& parent = rows.at(static_cast<std::size_t>(sequence.parent));
      check(parent.parent < 0, "a parent has no parent");
      first += parent.end - parent.begin;
    }
    for (int64_t i = 0; i < sequence.length; ++i) positions.push_back(first + i);
    rows.push_back({begin, begin + sequence.length, sequence.parent});
  }
  const at::Tensor position_T = at::tensor(positions, at::kLong).to(angles.cos_TP.device());
  const ops::RopeAngles own{angles.cos_TP.index_select(0, position_T), angles.sin_TP.index_select(0, position_T)};
  return Attention([rows, own, prefix](const DecoderLayer& layer, const at::Tensor& q_THd, const at::Tensor& k_TKd,
                                       const at::Tensor& v_TKd) {
    const HeadTransforms& heads = layer.heads;
    const at::Tensor query_THd = heads.read_query(q_THd, own), key_TKd = heads.cached_key(k_TKd, own);
    return ops::attention_in_packs(query_THd, key_TKd, heads.value(v_TKd), rows,
                                   prefix == nullptr ? nullptr : &prefix->of(layer), layer.attention);
  });
}

}  // namespace qroar
