// The diagnostic quant_error on small random models.
#include <ATen/ATen.h>

#include <cmath>
#include <map>

#include "quant/distortion.h"
#include "support/catch.h"
#include "support/diagnostic.h"
#include "support/errors.h"

namespace qroar {
namespace {

/// {site and band: {column: text}}
using Table = std::map<std::pair<std::string, std::string>, std::map<std::string, std::string>>;

Table table_of(const DiagnosedCell& cell, const std::string& yaml = "{type: quant_error}") {
  const CsvTable csv = diagnose(cell, yaml);
  Table table;
  for (const auto& fields : csv.rows) {
    std::map<std::string, std::string> row;
    for (std::size_t i = 0; i < fields.size(); ++i) row[csv.columns[i]] = fields[i];
    REQUIRE(table.emplace(std::pair(row.at("site"), row.at("band")), row).second);
  }
  return table;
}

double number(const Table& table, const std::string& site, const std::string& column, const std::string& band = "") {
  return std::stod(table.at({site, band}).at(column));
}

const std::string kFourBits = "weight: {type: rtn, bits: 4, group: 32}";

at::Tensor embedded(const DiagnosedCell& cell, std::size_t window) {
  return at::embedding(cell.full.embed_tokens_VD, cell.input().tokens_T(cell.windows[window]));
}

double squared(const at::Tensor& x) { return x.to(at::kDouble).square().sum().item<double>(); }

}  // namespace

TEST_CASE("quant_error has a row per linear layer, one per band of q and k, and one per decoder layer") {
  const DiagnosedCell cell("[{match: 'layers.*', " + kFourBits + "}]");
  CHECK(diagnose(cell, "{type: quant_error, bands: 4}").rows.size() == 15 + 2 * 2 * 4 + 2);
  const Table table = table_of(cell);
  CHECK(table.size() == 15 + 2 * 2 * 6 + 2);
  CHECK(table.at({"layers.1.mlp.down_proj", ""}).at("layer") == "1");
  CHECK(table.at({"lm_head", ""}).at("layer").empty());
  CHECK(table.at({"layers.1", ""}).at("layer") == "1");
  CHECK(table.at({"layers.1", ""}).at("snr_db").empty());
  CHECK(number(table, "layers.0.mlp.up_proj", "bits_per_weight") == Approx(4 + 20.0 / 32));
  CHECK(number(table, "lm_head", "bits_per_weight") == 32);  // no rule: stored in the model's dtype
}

TEST_CASE("clipped and zeroed are shares of a layer's weights") {
  const DiagnosedCell cell("[{match: 'layers.*', weight: {type: rtn, bits: 3, group: 0, clip: 0.5}}]");
  const std::string site = "layers.0.mlp.up_proj";
  const at::Tensor& weight = cell.full.layers[0].up_proj.weight_OI;
  const WeightErrors errors = weight_errors(weight, cell.model.layers[0].up_proj.weight_OI);
  const auto share = [&](const at::Tensor& x_O) {
    return x_O.sum().item<double>() / static_cast<double>(weight.numel());
  };
  const Table table = table_of(cell);
  CHECK(number(table, site, "clipped") == Approx(share(errors.clipped_O)));
  CHECK(number(table, site, "zeroed") == Approx(share(errors.zeroed_O)));
  CHECK(share(errors.clipped_O) > 0.01);
}

TEST_CASE("a decoder layer's error is that of what it adds to the full-precision residual stream") {
  const DiagnosedCell cell("[{match: 'layers.1.*', " + kFourBits + "}]");
  const Table table = table_of(cell);
  CHECK(table.at({"layers.0", ""}).at("output_snr_db") == "inf");
  const at::Tensor tokens_T = cell.input().tokens_T(cell.input().windows.front());
  const ops::RopeAngles angles = cell.input().angles_of(tokens_T.size(0));
  const Llama& full = cell.input().full;
  at::Tensor x_TD = at::embedding(full.embed_tokens_VD, tokens_T);
  decoder_layer(full.layers[0], full.config, x_TD, angles);
  at::Tensor y_TD = x_TD.clone(), rounded_TD = x_TD.clone();
  decoder_layer(full.layers[1], full.config, y_TD, angles);
  decoder_layer(cell.input().model.layers[1], full.config, rounded_TD, angles);
  CHECK(number(table, "layers.1", "output_relative_error") ==
        Approx(squared(rounded_TD - y_TD) / squared(y_TD - x_TD)).epsilon(1e-4));
}

TEST_CASE("a layer that nothing rounds has no error, whatever is rounded before it") {
  const DiagnosedCell cell("[{match: '*', " + kFourBits + "}, {match: 'layers.1.*', weight: {type: none}}]");
  const Table table = table_of(cell);
  for (const char* site : {"layers.1.self_attn.q_proj", "layers.1.mlp.down_proj", "lm_head"}) {
    for (const char* column : {"snr_db", "output_snr_db"}) CHECK(table.at({site, ""}).at(column) == "inf");
    for (const char* column : {"max_error", "clipped", "zeroed", "output_relative_error"}) {
      CHECK(table.at({site, ""}).at(column) == "0");
    }
  }
  CHECK(number(table, "layers.0.self_attn.o_proj", "output_snr_db") < 30);
}

TEST_CASE("the output error of the first layer's projections is that of their weights on the normed embeddings") {
  // float64, so that only summation order separates the two computations: about 1e-15; the CSV keeps nine digits.
  LlamaConfig config = small_llama_config();
  config.qkv_bias = config.o_bias = true;
  const DiagnosedCell cell("[{match: 'layers.*', " + kFourBits + "}]", at::kDouble, config);
  const Table table = table_of(cell);
  const DecoderLayer &full = cell.full.layers[0], &rounded = cell.model.layers[0];
  const at::Tensor x = ops::reference::rms_norm(embedded(cell, 0), full.input_norm_D, cell.full.config.rms_norm_eps);
  const at::Tensor y = at::matmul(x, full.q_proj.weight_OI.t()) + full.q_proj.bias_O;
  const at::Tensor error = at::matmul(x, rounded.q_proj.weight_OI.t()) + full.q_proj.bias_O - y;
  const std::string site = "layers.0.self_attn.q_proj";
  CHECK(number(table, site, "output_relative_error") == Approx(squared(error) / squared(y)).epsilon(1e-8));
  CHECK(number(table, site, "output_snr_db") == Approx(10 * std::log10(squared(y) / squared(error))).epsilon(1e-8));
  const at::Tensor difference = rounded.q_proj.weight_OI - full.q_proj.weight_OI;
  CHECK(number(table, site, "snr_db") ==
        Approx(10 * std::log10(squared(full.q_proj.weight_OI) / squared(difference))).epsilon(1e-8));

  // Band 1 of 4 is pairs 2 and 3 of 8: rows 2, 3, 10 and 11 of each of the 4 heads of 16.
  const Table four = table_of(cell, "{type: quant_error, bands: 4}");
  std::vector<int64_t> rows;
  for (int64_t head = 0; head < 4; ++head) {
    for (const int64_t row : {2, 3, 10, 11}) rows.push_back(16 * head + row);
  }
  const at::Tensor chosen = at::tensor(rows, at::kLong);
  CHECK(number(four, site, "output_relative_error", "1") ==
        Approx(squared(error.index_select(1, chosen)) / squared(y.index_select(1, chosen))).epsilon(1e-8));
  CHECK(number(four, site, "max_error", "1") ==
        Approx(difference.index_select(0, chosen).abs().max().item<double>()).epsilon(1e-8));
}

TEST_CASE("the input quantizer is part of the output error") {
  const DiagnosedCell cell("[{match: 'layers.0.self_attn.q_proj', input: {type: rtn, bits: 4, group: 0}}]",
                           at::kDouble);
  const Table table = table_of(cell);
  const DecoderLayer& full = cell.full.layers[0];
  const at::Tensor x = ops::reference::rms_norm(embedded(cell, 0), full.input_norm_D, cell.full.config.rms_norm_eps);
  const at::Tensor y = at::matmul(x, full.q_proj.weight_OI.t());
  const at::Tensor rounded = cell.model.layers[0].q_proj.input(x);
  const at::Tensor error = at::matmul(rounded, full.q_proj.weight_OI.t()) - y;
  const std::string site = "layers.0.self_attn.q_proj";
  CHECK(table.at({site, ""}).at("snr_db") == "inf");
  CHECK(number(table, site, "output_relative_error") == Approx(squared(error) / squared(y)).epsilon(1e-8));
  CHECK(table.at({"layers.0.self_attn.k_proj", ""}).at("output_snr_db") == "inf");
}

TEST_CASE("windows asks for so many windows, whose sums are added") {
  const DiagnosedCell cell("[{match: 'layers.0.mlp.*', " + kFourBits + "}]", at::kDouble);
  DiagnosedCell second("[{match: 'layers.0.mlp.*', " + kFourBits + "}]", at::kDouble);
  second.windows.erase(second.windows.begin());
  const std::string site = "layers.0.mlp.down_proj";
  const double first = number(table_of(cell), site, "output_relative_error");
  const double last = number(table_of(second), site, "output_relative_error");
  const double both = number(table_of(cell, "{type: quant_error, windows: 2}"), site, "output_relative_error");
  CHECK(both != first);
  CHECK((both - first) * (both - last) < 0);  // a mean of the two, weighted by their outputs' squares
  CHECK(table_of(cell, "{type: quant_error, windows: 9}") == table_of(cell, "{type: quant_error, windows: 2}"));
}

TEST_CASE("a transform that both models have in front of a layer is done once and is no error") {
  // As an online rotation is, whose inverse both weights are folded with; here the inputs' order is turned round.
  const DiagnosedCell plain("[{match: 'layers.*', " + kFourBits + "}]", at::kDouble);
  DiagnosedCell turned("[{match: 'layers.*', " + kFourBits + "}]", at::kDouble);
  for (Llama* model : {&turned.full, &turned.model}) {
    Linear& linear = model->layers[1].down_proj;
    linear.weight_OI = linear.weight_OI.flip(1);
    linear.input = {[](const at::Tensor& x_TI) { return x_TI.flip(1); }, false};
  }
  const std::string site = "layers.1.mlp.down_proj";
  CHECK(number(table_of(turned), site, "output_relative_error") ==
        Approx(number(table_of(plain), site, "output_relative_error")).epsilon(1e-8));
}

TEST_CASE("scales moved between layers are in both models, and the error is that of the moved weights") {
  DiagnosedCell cell("[{match: 'layers.*', weight: {type: awq, bits: 4, group: 32}}]", at::kDouble);
  TensorMap found;
  at::manual_seed(4);
  for (const char* name : {"scale.input_layernorm", "scale.up_proj"}) {
    found[std::string("layers.0.") + name] = at::rand({name[6] == 'i' ? 64 : 96}, at::kDouble) + 0.5;
  }
  const Llama checkpoint = cell.full;
  cell.model = apply(cell.quant, checkpoint, found);
  cell.full = folded(checkpoint, found);
  const Table table = table_of(cell);
  const Linear& plain = checkpoint.layers[0].q_proj;
  const at::Tensor scale = found.at("layers.0.scale.input_layernorm");
  const at::Tensor weight = plain.weight_OI * scale;
  const at::Tensor difference = cell.quant.rules.weight_quantizer(plain.site)->fake_quantize(weight) - weight;
  const double eps = checkpoint.config.rms_norm_eps;
  const at::Tensor x = ops::reference::rms_norm(embedded(cell, 0), checkpoint.layers[0].input_norm_D, eps);
  const at::Tensor y = at::matmul(x, plain.weight_OI.t()), error = at::matmul(x / scale, difference.t());
  CHECK(number(table, plain.site, "output_relative_error") == Approx(squared(error) / squared(y)).epsilon(1e-8));
  CHECK(number(table, plain.site, "snr_db") ==
        Approx(10 * std::log10(squared(weight) / squared(difference))).epsilon(1e-8));
  // Against the checkpoint's own up_proj the rounded one would be off by the scale itself, about 10 dB.
  CHECK(number(table, "layers.0.mlp.up_proj", "output_snr_db") > 15);
  CHECK(number(table, "layers.0.mlp.down_proj", "output_snr_db") > 15);
}

TEST_CASE("inputs come from the full-precision model: what is rounded in one layer changes no other layer's row") {
  const std::string later = "{match: 'layers.1.*', " + kFourBits + "}";
  const DiagnosedCell alone("[" + later + "]");
  const DiagnosedCell after("[{match: 'layers.0.*', " + kFourBits + ", input: {type: rtn, bits: 4, group: 0}}, " +
                            later + "]");
  const Table expected = table_of(alone), found = table_of(after);
  for (const auto& [key, row] : expected) {
    INFO(key.first << " " << key.second);
    CHECK((found.at(key) == row) == (row.at("layer") != "0"));
  }
}

TEST_CASE("more than 2048 tokens, where the MLP comes in blocks, change no row that a token's own result makes") {
  LlamaConfig config = small_llama_config();
  config.num_hidden_layers = 1;
  DiagnosedCell cell("[{match: 'layers.*', " + kFourBits + "}]", at::kDouble, config);
  std::vector<int32_t>& tokens = cell.documents[0].tokens;
  while (tokens.size() < 2100) tokens.push_back(tokens[tokens.size() - 40]);
  cell.windows = {{0, 0, 2099, 2099}};
  const Table table = table_of(cell);
  const DecoderLayer &full = cell.full.layers[0], &rounded = cell.model.layers[0];
  at::Tensor x = embedded(cell, 0);
  const double eps = config.rms_norm_eps;
  x = x + self_attention(full, config, ops::rms_norm(x, full.input_norm_D, eps), cell.angles_of(2100));
  const at::Tensor normed = ops::rms_norm(x, full.post_attention_norm_D, eps);
  const at::Tensor y = at::matmul(normed, full.up_proj.weight_OI.t());
  const at::Tensor error = at::matmul(normed, rounded.up_proj.weight_OI.t()) - y;
  CHECK(number(table, "layers.0.mlp.up_proj", "output_relative_error") ==
        Approx(squared(error) / squared(y)).epsilon(1e-8));
}

TEST_CASE("models in other coordinates are refused, as their layers do not compare") {
  DiagnosedCell cell("[]");
  cell.model.layers[1].input_norm_D = cell.model.layers[1].input_norm_D * 2;
  CHECK_THROWS_AS(diagnose(cell, "{type: quant_error}"), InternalError);
}

TEST_CASE("quant_error's options are checked with their place") {
  const DiagnosedCell cell("[]");
  CHECK(error_text([&] { diagnose(cell, "{type: quant_error, bands: 9}"); }) ==
        "test.yaml:1:1: 9 bands need as many RoPE pairs and head_dim 16 has 8; take `bands: 8` or fewer");
  CHECK(contains(error_text([&] { diagnose(cell, "{type: quant_error, windows: 0}"); }), "test.yaml:1:"));
  CHECK(contains(error_text([&] { diagnose(cell, "{type: quant_error, band: 4}"); }), "did you mean 'bands'"));
}

}  // namespace qroar
