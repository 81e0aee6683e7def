// Observation of a forward pass: the model calls the observer, if there is one, with the tensor at each named site.
#pragma once
#include <ATen/ATen.h>

#include <string_view>

namespace qroar {

/// Sites: embed_tokens, layers.N.self_attn and layers.N.mlp (what each adds to the residual stream),
/// layers.N.self_attn.{q,k,v}_proj (before RoPE), layers.N (the residual stream after the layer), norm, lm_head.  The
/// tensor must not be written to.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void on(std::string_view site, const at::Tensor& value) = 0;
  /// Called with the input of a linear layer after its Linear::input transform, [rows, inputs]; may be called for
  /// blocks of rows.
  virtual void on_input(std::string_view /*site*/, const at::Tensor& /*x_RI*/) {}
};

}  // namespace qroar
