// Texts as .jsonl and .txt, and which of their documents are chosen.
#include <set>

#include "base/utf8.h"
#include "data/dataset.h"
#include "data/texts.h"
#include "fuzz.h"

namespace qroar {
namespace {

void check_texts(const std::vector<Text>& texts) {
  std::set<std::string> ids;
  Dataset corpus;
  for (const Text& text : texts) {
    must(utf8_prefix(text.text) == text.text.size(), "a text that is not UTF-8");
    must(ids.insert(text.id).second, "two documents with the id " + text.id);
    must(text.words >= 0 && text.bytes >= 0, "a count below 0");
    must(text.group.empty() || group_error(text.group).empty(), "a group that cannot be one");
    corpus.documents.push_back(
        {text.id, std::vector<int32_t>(text.text.size() % 50), text.words, text.bytes, text.group});
  }
  const DataSpec spec(block_of("{path: d.jsonl, documents: 2, skip: 1, min_tokens: 2, max_tokens: 9}"));
  if (refuses([&] { corpus = choose_documents(corpus, spec); })) return;
  must(!corpus.documents.empty() && corpus.documents.size() <= 2, "the number of documents");
  for (const Document& document : corpus.documents) {
    must(ids.contains(document.id), document.id);
    must(document.tokens.size() >= 2 && document.tokens.size() <= 9, "a document's length");
  }
}

}  // namespace

void fuzz_one(std::string_view input) {
  for (const char* name : {"d.txt", "d.jsonl"}) {
    refuses([&] { check_texts(parse_texts(std::string(input), name)); });
  }
}

}  // namespace qroar
