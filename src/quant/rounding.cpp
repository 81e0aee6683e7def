// Dimensions: D hidden size, F intermediate size, H query heads, K key/value heads, d head_dim, O outputs and I inputs
// of a layer.
#include "quant/rounding.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "quant/by_rows.h"

namespace qroar {
namespace {

/// Radians.  Large enough that errors of two draws do not correlate, small enough that rows and groups keep the
/// distribution that makes their range (docs/method.md 5.6 has the measurements).
constexpr double kAngle = 0.3;
/// Channels are rotated into each other when no norm weight of one is more than this many times the other's, and one of
/// the `kNearest` unused channels nearest in that sense is drawn.
constexpr double kMostUnlike = 2;
constexpr std::size_t kNearest = 16;

using Random = std::mt19937_64;

bool coin(Random& random) { return random() >> 63 != 0; }

std::vector<int64_t> shuffled(int64_t size, Random& random) {
  std::vector<int64_t> order(static_cast<std::size_t>(size));
  std::iota(order.begin(), order.end(), 0);
  for (std::size_t left = order.size(); left > 1; --left) std::swap(order[left - 1], order[random() % left]);
  return order;
}

/// An orthogonal map of channels with at most two entries a row: y_i = a_i x_first(i) + b_i x_second(i).
struct ChannelMap {
  std::vector<int64_t> first, second;
  std::vector<double> a, b;

  void add(int64_t from, double factor, int64_t other, double other_factor) {
    first.push_back(from);
    second.push_back(other);
    a.push_back(factor);
    b.push_back(other_factor);
  }
  void add(const ChannelMap& block, int64_t offset) {
    for (std::size_t i = 0; i < block.a.size(); ++i) {
      add(block.first[i] + offset, block.a[i], block.second[i] + offset, block.b[i]);
    }
  }
  /// Returns the map followed by a permutation and signs.
  ChannelMap reordered(Random& random) const {
    ChannelMap map;
    for (const int64_t from : shuffled(std::ssize(a), random)) {
      const auto i = static_cast<std::size_t>(from);
      const double sign = coin(random) ? -1 : 1;
      map.add(first[i], sign * a[i], second[i], sign * b[i]);
    }
    return map;
  }
  /// Returns M x along a dimension of a float64 tensor.
  at::Tensor operator()(const at::Tensor& x, int64_t dim) const {
    std::vector<int64_t> shape(static_cast<std::size_t>(x.dim()), 1);
    shape[static_cast<std::size_t>(dim)] = -1;
    const auto picked = [&](const std::vector<int64_t>& index, const std::vector<double>& factor) {
      return x.index_select(dim, at::tensor(index, at::kLong).to(x.device())) *
             at::tensor(factor, at::kDouble).to(x.device()).view(shape);
    };
    return picked(first, a) + picked(second, b);
  }
};

/// Returns the rotations of channels by kAngle, clockwise or not, in the plane of each with its partner (itself: none).
ChannelMap rotations(const std::vector<int64_t>& partner, Random& random) {
  std::vector<double> sine(partner.size());
  for (std::size_t i = 0; i < partner.size(); ++i) {
    const auto other = static_cast<std::size_t>(partner[i]);
    if (other > i) {
      sine[i] = (coin(random) ? -1 : 1) * std::sin(kAngle);
      sine[other] = -sine[i];
    }
  }
  ChannelMap map;
  for (std::size_t i = 0; i < partner.size(); ++i) {
    map.add(static_cast<int64_t>(i), sine[i] == 0 ? 1 : std::cos(kAngle), partner[i], sine[i]);
  }
  return map;
}

/// Returns random partners among channels whose features differ by at most ln kMostUnlike; a channel without one is its
/// own.
std::vector<int64_t> alike_partners(const std::vector<std::vector<double>>& features_D, Random& random) {
  const double most = std::log(kMostUnlike);
  const auto distance = [&](std::size_t i, std::size_t j) {
    double largest = 0;
    for (std::size_t f = 0; f < features_D[i].size() && largest <= most; ++f) {
      largest = std::max(largest, std::abs(features_D[i][f] - features_D[j][f]));
    }
    return largest;
  };
  std::vector<int64_t> partner(features_D.size(), -1);
  for (const int64_t channel : shuffled(std::ssize(features_D), random)) {
    const auto i = static_cast<std::size_t>(channel);
    if (partner[i] >= 0) continue;
    std::vector<std::pair<double, std::size_t>> near;
    for (std::size_t j = 0; j < features_D.size(); ++j) {
      if (j == i || partner[j] >= 0) continue;
      if (const double between = distance(i, j); between <= most) near.emplace_back(between, j);
    }
    const std::size_t kept = std::min(near.size(), kNearest);
    std::ranges::partial_sort(near, near.begin() + static_cast<std::ptrdiff_t>(kept));
    const std::size_t j = kept == 0 ? i : near[random() % kept].second;
    partner[i] = static_cast<int64_t>(j);
    partner[j] = channel;
  }
  return partner;
}

/// Returns the map of the residual stream.
ChannelMap residual_map(const Llama& model, Random& random) {
  std::vector<std::vector<double>> features_D(static_cast<std::size_t>(model.config.hidden_size));
  const auto add = [&](const at::Tensor& norm_D) {
    const at::Tensor size_D = norm_D.to(at::kCPU, at::kDouble).abs().clamp_min(1e-30).contiguous();
    for (std::size_t i = 0; i < features_D.size(); ++i)
      features_D[i].push_back(std::log(size_D.const_data_ptr<double>()[i]));
  };
  for (const DecoderLayer& layer : model.layers) {
    add(layer.input_norm_D);
    add(layer.post_attention_norm_D);
  }
  add(model.norm_D);
  return rotations(alike_partners(features_D, random), random).reordered(random);
}

/// The maps of one layer's channels inside its sublayers.
struct LayerMaps {
  std::vector<int64_t> key_heads;            ///< as they were, in their new order
  ChannelMap query, key, value, mixed, mlp;  ///< mixed: the input of o_proj

  LayerMaps(const LlamaConfig& config, Random& random) : key_heads(shuffled(config.num_key_value_heads, random)) {
    const int64_t P = config.pairs(), d = config.head_dim,
                  group = config.num_attention_heads / config.num_key_value_heads;
    for (const int64_t kv_head : key_heads) {
      std::vector<int64_t> pair, neighbour(static_cast<std::size_t>(d));
      // A norm's weights do not commute with a rotation, and channels that RoPE leaves alone are no pair.  Queries and
      // keys then differ between draws by the rotation of their inputs.
      for (int64_t i = 0; i < d; ++i) pair.push_back(config.qk_norm || i >= 2 * P ? i : (i + P) % (2 * P));
      const std::vector<int64_t> order = shuffled(d, random);
      for (std::size_t i = 0; i + 1 < order.size(); i += 2) {
        neighbour[static_cast<std::size_t>(order[i])] = order[i + 1];
        neighbour[static_cast<std::size_t>(order[i + 1])] = order[i];
      }
      const ChannelMap of_pairs = rotations(pair, random), of_values = rotations(neighbour, random).reordered(random);
      key.add(of_pairs, kv_head * d);
      value.add(of_values, kv_head * d);
      for (const int64_t member : shuffled(group, random)) {
        const int64_t head = kv_head * group + member;
        query.add(of_pairs, head * d);
        mixed.add(of_values, head * d);
      }
    }
    std::vector<int64_t> alone(static_cast<std::size_t>(config.intermediate_size));
    std::iota(alone.begin(), alone.end(), 0);
    mlp = rotations(alone, random).reordered(random);
  }
};

/// Applies a map to a layer's outputs: rows of its weight, entries of its bias.
void map_outputs(const ChannelMap& map, Linear& linear) {
  const auto mapped = [map](const at::Tensor& x) { return map(x.to(at::kDouble), 0).to(x.scalar_type()); };
  linear.change(mapped);
  if (linear.bias_O.defined()) linear.bias_O = mapped(linear.bias_O);
}

/// Undoes an orthogonal map at a layer's inputs: W M^T.
void map_inputs(const ChannelMap& map, Linear& linear) {
  linear.change([map](const at::Tensor& weight_OI) {
    return by_rows(weight_OI, [&](const at::Tensor& rows_OI) { return map(rows_OI, 1); });
  });
}

/// Moves a norm and the layers that read it into the stream y = M x: with norm weights n and n', W' = W diag(n) M^T
/// diag(n')^-1.  n'_i^2 = a_i^2 n_first(i)^2 + b_i^2 n_second(i)^2 leaves columns about as long as they were.
void map_norm(const ChannelMap& map, at::Tensor& norm_D, std::initializer_list<Linear*> readers) {
  ChannelMap squared = map;
  for (double& a : squared.a) a *= a;
  for (double& b : squared.b) b *= b;
  const at::Tensor before_D = norm_D.to(at::kDouble), square_D = squared(before_D.square(), 0);
  norm_D = at::where(square_D == 0, 1.0, square_D.sqrt()).to(norm_D.scalar_type());
  const at::Tensor after_D = norm_D.to(at::kDouble);
  for (Linear* reader : readers) {
    reader->change([=](const at::Tensor& weight_OD) {
      return by_rows(weight_OD, [&](const at::Tensor& rows_OD) { return map(rows_OD * before_D, 1) / after_D; });
    });
  }
}

}  // namespace

Rounding::Rounding(const Config& config) : draw(static_cast<uint64_t>(config.get<int64_t>("draw", 0, {0}))) {}

void redraw(const Rounding& rounding, Llama& model) {
  if (rounding.draw == 0) return;
  Random random(rounding.draw);
  const ChannelMap stream = residual_map(model, random);
  for (DecoderLayer& layer : model.layers) {
    const LayerMaps own(model.config, random);
    map_norm(stream, layer.input_norm_D, {&layer.q_proj, &layer.k_proj, &layer.v_proj});
    map_norm(stream, layer.post_attention_norm_D, {&layer.gate_proj, &layer.up_proj});
    layer.key_heads = own.key_heads;
    map_outputs(own.query, layer.q_proj);
    map_outputs(own.key, layer.k_proj);
    map_outputs(own.value, layer.v_proj);
    map_inputs(own.mixed, layer.o_proj);
    map_outputs(stream, layer.o_proj);
    ChannelMap unsigned_mlp = own.mlp;  // silu is not odd: gates keep their sign
    for (double& a : unsigned_mlp.a) a = std::abs(a);
    map_outputs(unsigned_mlp, layer.gate_proj);
    map_outputs(own.mlp, layer.up_proj);
    map_inputs(own.mlp, layer.down_proj);
    map_outputs(stream, layer.down_proj);
  }
  map_norm(stream, model.norm_D, {&model.lm_head});
  model.embed_tokens_VD = by_rows(model.embed_tokens_VD, [&](const at::Tensor& rows_VD) { return stream(rows_VD, 1); });
}

}  // namespace qroar
