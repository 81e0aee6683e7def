#include "diagnostics/heads.h"

#include "base/stop.h"

namespace qroar {

at::Tensor band_of(const at::Tensor& x_THd, int64_t begin, int64_t end) {
  return x_THd.unflatten(-1, {2, x_THd.size(-1) / 2}).slice(-1, begin, end);
}

HeadsObserver::HeadsObserver(const Llama& model, const ops::RopeAngles& angles, Visit visit)
    : angles_(angles), visit_(std::move(visit)) {
  for (std::size_t layer = 0; layer < model.layers.size(); ++layer) {
    for (const bool is_key : {false, true}) {
      if (!model.layers[layer].heads.rope) continue;
      const HeadsPlace place{layer, is_key};
      places_[model.layers[layer].site + ".self_attn." + place.site()] = place;
    }
  }
}

void HeadsObserver::on(std::string_view site, const at::Tensor& value) {
  const auto found = places_.find(site);
  if (found == places_.end()) return;
  throw_if_stop_requested();  // a window may take a minute
  HeadsPlace place = found->second;
  const at::Tensor x_THd = value.slice(2, 0, 2 * angles_.cos_TP.size(1));
  visit_(place, x_THd);
  at::Tensor turned_THd = x_THd.clone();
  ops::rope_(turned_THd, angles_);
  place.after_rope = true;
  visit_(place, turned_THd);
}

void visit_heads(const Llama& model, const at::Tensor& tokens_T, const ops::RopeAngles& angles,
                 HeadsObserver::Visit visit) {
  HeadsObserver observer(model, angles, std::move(visit));
  forward(model, tokens_T, angles, &observer);
}

}  // namespace qroar
