#include "quant/quantization.h"

namespace qroar {

Quantization::Quantization(const Config& root, const LlamaConfig& llama) : plan(root, llama) {
  if (root.has("calibration")) calibration.emplace(root.at("calibration"));
  if (!plan.rules.need_texts()) {
    calibration.reset();
  } else if (!calibration) {
    root.at("quant").fail("a quantizer here needs calibration texts; add calibration: {data: {path: TEXTS.jsonl}}");
  }
}

void Quantization::resolve(Json& root) {
  if (!calibration) root.erase("calibration");
  key = Json::object();
  for (const char* block : {"rounding", "rotation", "quant", "kv", "calibration"}) {
    if (root.contains(block)) key[block] = root[block];
  }
}

}  // namespace qroar
