// Parses YAML text into a tree; the only file that uses yaml-cpp's parser.  Builds the tree from the parser's events,
// because yaml-cpp's nodes lose marks and quotes, share aliased parts and keep duplicate keys.  Deliberately rejects
// merge keys (<<), tags other than !!str, and more than one document.
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <sstream>
#include <string_view>

#include "base/error.h"
#include "base/utf8.h"
#include "config/node.h"

namespace qroar::detail {
namespace {

using Pointer = ConfigNode::Pointer;
using Kind = Config::Kind;

/// Returns the number of line breaks between the last character of a text in quotes, which begins at `from`, and its
/// closing quote.
std::size_t breaks_at_end(std::string_view from) {
  const char quote = from.front();
  std::size_t breaks = 0;
  for (std::size_t i = 1; i < from.size(); ++i) {
    const bool is_pair = quote == '"' ? from[i] == '\\' : from.substr(i).starts_with("''");
    if (from[i] == quote && !is_pair) break;
    if (from[i] == '\n')
      ++breaks;
    else if (from[i] != ' ' && from[i] != '\t' && from[i] != '\r')
      breaks = 0;
    if (is_pair) ++i;
  }
  return breaks;
}

class TreeBuilder : public YAML::EventHandler {
 public:
  /// The marks of yaml-cpp do not count a byte order mark.
  TreeBuilder(const Mark& start, std::string_view text)
      : start_(start),
        text_(text.substr(text.starts_with(kByteOrderMark) ? kByteOrderMark.size() : 0)),
        root_(make(start, Kind::null)) {}

  const Pointer& root() const { return root_; }

  Mark place(const YAML::Mark& mark) const {
    return {start_.source, start_.line + mark.line, mark.column + (mark.line == 0 ? start_.column : 1)};
  }

  /// Returns where the innermost open value begins: unclosed brackets and quotes are detected late.
  std::string context() const {
    if (open_.empty()) return "";
    const Frame& frame = open_.back();
    return fmt::format(" (in what begins at {})", (frame.key ? frame.key : frame.node)->mark.text());
  }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) refuse(mark, "a second YAML document begins; a config is one document");
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    if (open_.empty()) return;  // an empty document
    if (awaits_key()) refuse(mark, "a key must be a plain text, found nothing");
    const Pointer node = make(place(mark), Kind::null);
    add(mark, node, anchor);
    node->mark = node->key_mark;  // an empty value has no place of its own
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& text) override {
    const bool plain = tag == "?";
    if (!plain && tag != "!" && tag != "tag:yaml.org,2002:str") refuse_tag(mark, tag);
    if (text.find('\0') != text.npos)
      refuse(mark, "a NUL (\\0), at which the system would end the path that it is in; remove it");
    if (holds_noncharacter(text))
      refuse(mark,
             "a code point that Unicode gives to no character (such as U+FFFF), which YAML cannot hold; remove it");
    const Pointer node = make(place(mark), Kind::scalar);
    node->text = text;
    if (!plain) restore_breaks(mark, node->text);
    node->quoted = !plain;
    if (!awaits_key()) return add(mark, node, anchor);
    if (plain && text == "<<") refuse(mark, "merge keys (<<) are not supported; write the keys out or use include");
    if (anchor != 0) anchors_[anchor] = node;
    open_.back().key = node;
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const ConfigNode& target = *anchors_.at(anchor);
    if (awaits_key()) refuse(mark, "a key must be a plain text, found an alias");
    if (std::ranges::any_of(open_, [&](const Frame& frame) { return frame.node.get() == &target; })) {
      refuse(mark, "an alias inside of what it stands for");
    }
    add(mark, clone(target), 0);
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, Kind::list);
  }
  void OnSequenceEnd() override { open_.pop_back(); }

  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, Kind::map);
  }
  void OnMapEnd() override { open_.pop_back(); }

 private:
  struct Frame {
    Pointer node;
    Pointer key;  ///< of a map: the key whose value comes next
  };

  static Pointer make(const Mark& mark, Kind kind) {
    auto node = std::make_shared<ConfigNode>();
    node->kind = kind;
    node->mark = node->key_mark = mark;
    return node;
  }

  [[noreturn]] void refuse(const YAML::Mark& mark, const std::string& message) const {
    fail("{}: {}", place(mark).text(), message);
  }
  [[noreturn]] void refuse_tag(const YAML::Mark& mark, const std::string& tag) const {
    refuse(mark, fmt::format("the tag '{}' is not supported; remove it", tag));
  }

  /// Returns what is written from a scalar on, behind its anchor and tag.
  std::string_view scalar_at(const YAML::Mark& mark) const {
    std::string_view from = text_.substr(std::min(text_.size(), static_cast<std::size_t>(mark.pos)));
    while (from.starts_with('&') || from.starts_with('!')) {
      from.remove_prefix(std::min(from.size(), from.find_first_of(" \t\r\n")));
      from.remove_prefix(std::min(from.size(), from.find_first_not_of(" \t\r\n")));
    }
    return from;
  }

  /// Gives a text the line breaks at its end that yaml-cpp drops: of k in front of the closing quote YAML keeps k - 1,
  /// and yaml-cpp one at most, none where there is nothing else.
  void restore_breaks(const YAML::Mark& mark, std::string& text) const {
    const std::string_view from = scalar_at(mark);
    if (from.starts_with('>') && from.substr(1, 2).find('+') != from.npos)
      refuse(mark, "a folded text that keeps the line breaks at its end (>+); write it in double quotes, with \\n");
    const bool is_double = from.starts_with('"');
    if (!is_double && !from.starts_with('\'')) return;
    const std::size_t breaks = breaks_at_end(from);
    if (breaks < 2) return;
    if (is_double) refuse(mark, "line breaks in front of the closing quote; write \\n for each of them");
    text.erase(text.find_last_not_of('\n') + 1);
    text.append(breaks - 1, '\n');
  }

  bool awaits_key() const { return !open_.empty() && open_.back().node->kind == Kind::map && !open_.back().key; }

  void open(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, Kind kind) {
    if (tag != "?" && tag != "!" && !tag.empty()) refuse_tag(mark, tag);
    if (awaits_key()) refuse(mark, "a key must be a plain text, found a list or a map; is a bracket left open?");
    const Pointer node = make(place(mark), kind);
    add(mark, node, anchor);
    open_.push_back({node, nullptr});
  }

  /// Adds a value at the parser's current position.
  void add(const YAML::Mark& mark, const Pointer& node, YAML::anchor_t anchor) {
    const Extent size = extent(*node);
    nodes_ += size.nodes;
    bytes_ += size.bytes;
    if (nodes_ > kMaxNodes) refuse(mark, fmt::format("more than {} values, aliases counted as copies", kMaxNodes));
    if (bytes_ > kMaxBytes) refuse(mark, fmt::format("more than {} MiB, aliases counted as copies", kMaxBytes >> 20));
    if (open_.size() + size.depth > kMaxDepth) refuse(mark, fmt::format("nested deeper than {} levels", kMaxDepth));
    if (anchor != 0) anchors_[anchor] = node;
    if (open_.empty()) {
      root_ = node;
      return;
    }
    Frame& parent = open_.back();
    if (parent.key) node->key_mark = parent.key->mark;
    parent.node->children.push_back({parent.key ? parent.key->text : "", node});
    parent.key = nullptr;
  }

  Mark start_;
  std::string_view text_;
  Pointer root_;
  std::vector<Frame> open_;
  std::map<YAML::anchor_t, Pointer> anchors_;
  std::size_t nodes_ = 0, bytes_ = 0;
  int documents_ = 0;
};

void refuse_duplicates(const ConfigNode& node) {
  std::map<std::string_view, const ConfigNode*> seen;
  for (const auto& [key, child] : node.children) {
    if (node.kind == Kind::map) {
      const auto [first, fresh] = seen.emplace(key, child.get());
      if (!fresh) {
        fail("{}: {}: this key stands twice, first at {}; remove one", child->key_mark.text(), child->path,
             first->second->key_mark.text());
      }
    }
    refuse_duplicates(*child);
  }
}

/// Returns the length of the UTF-8 character that `text` begins with; 0 for anything else and for control characters.
std::size_t character_length(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  const bool control = lead < 0x20 && lead != '\t' && lead != '\n' && lead != '\r';
  return control ? 0 : utf8_length(text);
}

/// Throws an Error for text that is not UTF-8, where yaml-cpp would silently insert replacement characters.
void require_text(std::string_view text, const Mark& start) {
  Mark mark = start;
  while (!text.empty()) {
    const std::size_t length = character_length(text);
    if (length == 0) {
      fail("{}: byte 0x{:02x} is not UTF-8 text; is this a YAML file?", mark.text(),
           static_cast<unsigned char>(text[0]));
    }
    mark.column += static_cast<int>(length);
    if (text[0] == '\n') {
      ++mark.line;
      mark.column = 1;
    }
    text.remove_prefix(length);
  }
}

/// Returns yaml-cpp's message, corrected where it would mislead.
std::string explain(const std::string& message) {
  using namespace YAML::ErrorMsg;
  if (message == DOC_IN_SCALAR) return "a quote is never closed";
  const bool star = message == UNKNOWN_ANCHOR || message == ALIAS_NOT_FOUND || message == CHAR_IN_ALIAS;
  return star ? message + "; a text that begins with * needs quotes" : message;
}

}  // namespace

Pointer parse_yaml(const std::string& text, const Mark& start) {
  require_text(text, start);
  TreeBuilder builder(start, text);
  // yaml-cpp accepts the last newline as the closing quote of an unclosed text, unless an end marker follows.
  std::istringstream stream(text + (text.ends_with('\n') ? "...\n" : "\n...\n"));
  try {
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const YAML::Exception& error) {
    fail("{}: not valid YAML: {}{}", builder.place(error.mark).text(), explain(error.msg), builder.context());
  }
  set_paths(*builder.root(), "");
  refuse_duplicates(*builder.root());
  return builder.root();
}

}  // namespace qroar::detail
