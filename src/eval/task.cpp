#include "eval/task.h"

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "base/utf8.h"

namespace qroar {

std::string answer_part(const std::string& task, std::size_t question) {
  return fmt::format("task/{}/{}", task, question);
}

std::string greedy_answer(const TaskInput& input, const std::string& part, const std::vector<int32_t>& prompt, bool bos,
                          int64_t most, const std::function<bool(const std::string&)>& stop) {
  // An answer may end within a character.
  const auto text_of = [&](const std::vector<int32_t>& ids) { return with_replacements(input.tokenizer.decode(ids)); };
  if (const Json* known = input.parts.find(part)) return text_of(known->get<std::vector<int32_t>>());
  const LlamaConfig& llama = input.model.config;
  std::vector<int64_t> tokens(prompt.begin(), prompt.end());
  if (bos) tokens.insert(tokens.begin(), llama.bos_token_id.value());
  Decoder decoder(input.model, input.table_of, std::ssize(tokens) + most, input.bfloat16_rope);
  const at::Tensor hidden_TD = decoder.append(at::tensor(tokens, at::kLong).to(input.model.embed_tokens_VD.device()));
  if (!hidden_TD[-1].isfinite().all().item<bool>())
    fail("{}: what the prompt comes to is not finite; check the weights, or try dtype: float32", part);
  std::vector<int32_t> said;
  decoder.greedy(hidden_TD[-1], most, [&](int64_t token) {
    if (std::ranges::find(llama.eos_token_ids, token) != llama.eos_token_ids.end()) return true;
    said.push_back(static_cast<int32_t>(token));
    return stop && stop(text_of(said));
  });
  input.parts.add(part, said);
  return text_of(said);
}

void check_has_bos(const Config& task, const LlamaConfig& llama) {
  if (llama.bos_token_id) return;
  (task.has("bos") ? task.at("bos") : task)
      .fail("the model has no BOS: its config.json says bos_token_id: null; say bos: false");
}

std::string on_one_line(std::string text) {
  std::ranges::replace_if(
      text, [](char c) { return std::iscntrl(static_cast<unsigned char>(c)) != 0; }, ' ');
  return text;
}

}  // namespace qroar
