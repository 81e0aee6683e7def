// Queries and keys of every layer before and after RoPE, and their RoPE bands, for diagnostics that inspect them.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "model/llama.h"

namespace qroar {

/// The queries or the keys of one layer, before or after RoPE; sorts in the order of a table's rows.
struct HeadsPlace {
  std::size_t layer = 0;
  bool is_key = false, after_rope = false;

  auto operator<=>(const HeadsPlace&) const = default;
  const char* site() const { return is_key ? "k_proj" : "q_proj"; }
  const char* rope() const { return after_rope ? "after" : "before"; }
};

/// Returns the channels (i, i + d/2) of pairs [begin, end): a view [T, heads, 2, end - begin] of x_THd.
at::Tensor band_of(const at::Tensor& x_THd, int64_t begin, int64_t end);

/// Calls visit(place, x_THd) for queries and keys of every layer that has RoPE, with the channels that it rotates:
/// before RoPE as projected and normed, and after RoPE as ops::rope_ rotates a copy by `angles`.  Later transforms
/// (cache, rotation) are not included: a rotation of the heads would mix the pairs.
class HeadsObserver : public Observer {
 public:
  using Visit = std::function<void(const HeadsPlace&, const at::Tensor& x_THd)>;
  HeadsObserver(const Llama& model, const ops::RopeAngles& angles, Visit visit);
  void on(std::string_view site, const at::Tensor& value) override;

 private:
  std::map<std::string, HeadsPlace, std::less<>> places_;
  ops::RopeAngles angles_;
  Visit visit_;
};

/// Runs one forward over tokens [T] at positions 0..T-1 with a HeadsObserver; `angles` are those of T positions.
void visit_heads(const Llama& model, const at::Tensor& tokens_T, const ops::RopeAngles& angles,
                 HeadsObserver::Visit visit);

}  // namespace qroar
