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

SharedPrefix::SharedPrefix(const Llama& model, const at::Tensor& tokens_P, const ops::RopeAngles& angles, int64_t room)
    : length_(tokens_P.size(0)) {
  const auto with_room = [&](const at::Tensor& x_PKd) {
    // A head's tokens lie beside each other, as attention reads them.
    at::Tensor kept_CKd = at::empty({x_PKd.size(1), length_ + room, x_PKd.size(2)}, x_PKd.options()).transpose(0, 1);
    kept_CKd.slice(0, 0, length_).copy_(x_PKd);
    return kept_CKd;
  };
  const Mixing keeping([&, own = angles.slice(0, length_)](const DecoderLayer& layer, const at::Tensor& q_PHd,
                                                           const at::Tensor& k_PKd, const at::Tensor& v_PKd) {
    const HeadTransforms& heads = layer.heads;
    const at::Tensor query_PHd = heads.read_query(q_PHd, own), key_PKd = heads.cached_key(k_PKd, own),
                     value_PKd = heads.value(v_PKd);
    kept_[&layer] = {with_room(key_PKd), with_room(value_PKd)};
    return ops::causal_attention(query_PHd, key_PKd, value_PKd);
  });
  forward_mixed(model, tokens_P, keeping);
}

Mixing packed(const std::vector<PackedSequence>& sequences, const ops::RopeAngles& angles, const SharedPrefix* prefix) {
  const int64_t before = prefix == nullptr ? 0 : prefix->length();
  std::vector<Rows> rows;
  std::vector<int64_t> positions;
  for (const PackedSequence& sequence : sequences) {
    const int64_t begin = rows.empty() ? 0 : rows.back().end;
    int64_t first = before;
    if (sequence.parent >= 0) {
      const Rows& parent = rows.at(static_cast<std::size_t>(sequence.parent));
      check(parent.parent < 0, "a parent has no parent");
      first += parent.end - parent.begin;
    }
    for (int64_t i = 0; i < sequence.length; ++i) positions.push_back(first + i);
    rows.push_back({begin, begin + sequence.length, sequence.parent});
  }
  const at::Tensor position_T = at::tensor(positions, at::kLong).to(angles.cos_TP.device());
  const ops::RopeAngles own{angles.cos_TP.index_select(0, position_T), angles.sin_TP.index_select(0, position_T)};
  return Mixing([rows, own, prefix, before](const DecoderLayer& layer, const at::Tensor& q_THd, const at::Tensor& k_TKd,
                                            const at::Tensor& v_TKd) {
    const HeadTransforms& heads = layer.heads;
    const at::Tensor query_THd = heads.read_query(q_THd, own), key_TKd = heads.cached_key(k_TKd, own),
                     value_TKd = heads.value(v_TKd);
    at::Tensor mixed_THd = at::empty_like(query_THd);
    for (const Rows& sequence : rows) {
      const auto seen = [&](const at::Tensor& x_TKd, at::Tensor SharedPrefix::KeysAndValues::*kept) {
        std::vector<at::Tensor> parts{x_TKd.slice(0, sequence.begin, sequence.end)};
        if (sequence.parent >= 0) {
          const Rows& parent = rows[static_cast<std::size_t>(sequence.parent)];
          parts.insert(parts.begin(), x_TKd.slice(0, parent.begin, parent.end));
        }
        if (prefix == nullptr) return parts.size() == 1 ? parts[0] : at::cat(parts);
        const at::Tensor& all_CKd = prefix->of(layer).*kept;
        int64_t end = before;
        for (const at::Tensor& part : parts) {
          all_CKd.slice(0, end, end + part.size(0)).copy_(part);
          end += part.size(0);
        }
        return all_CKd.slice(0, 0, end);
      };
      mixed_THd.slice(0, sequence.begin, sequence.end)
          .copy_(ops::causal_attention(query_THd.slice(0, sequence.begin, sequence.end),
                                       seen(key_TKd, &SharedPrefix::KeysAndValues::key_CKd),
                                       seen(value_TKd, &SharedPrefix::KeysAndValues::value_CKd)));
    }
    return mixed_THd;
  });
}

}  // namespace qroar
