// A pattern of a prompt, and behind the byte 0x01 the file of questions that fill it.
#include "eval/questions.h"
#include "fuzz.h"

namespace qroar {

void fuzz_one(std::string_view input) {
  const auto parts = parts_of(input, 2);
  const auto file = scratch().write("questions.jsonl", parts[1]);
  std::string hash;
  const std::vector<Question> questions = read_questions(file, hash);
  must(!questions.empty(), "no question");
  for (const Question& question : questions) {
    must(question.place.starts_with(file.string() + ":"), question.place);
    for (const auto& [name, value] : question.fields.items()) {
      must_be_one_line(excerpt(value));
      refuses([&] { question.text(name); });
      refuses([&] {
        for (const std::string& text : question.texts(name, 2)) must(value.dump().size() >= text.size(), text);
      });
    }
    refuses([&] { must(!question.id().empty(), "an id"); });
    refuses([&] { must(!question.group().empty(), "a group"); });
  }
  const PromptPattern pattern(block_of(to_yaml({{"prompt", parts[0]}})), "prompt", "{query}");
  refuses([&] { pattern.check_fields(questions, file); });
  for (const Question& question : questions) refuses([&] { pattern.filled(question); });
}

}  // namespace qroar
