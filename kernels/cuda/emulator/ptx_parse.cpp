// From the text of PTX to decoded instructions.
#include <algorithm>
#include <cctype>

#include "kernels/cuda/emulator/machine.h"

namespace vitrine::ptx {
namespace {

struct Token {
  std::string text;
  u32 line;
};

bool word_character(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '.' || c == '$' || c == '%';
}

std::vector<Token> tokens_of(const std::string& s) {
  std::vector<Token> out;
  u32 line = 1;
  for (std::size_t i = 0; i < s.size();) {
    const char c = s[i];
    if (c == '\n') {
      ++line, ++i;
      continue;
    }
    if (std::isspace(static_cast<unsigned char>(c)) != 0 || c == '\0') {
      ++i;
      continue;
    }
    if (c == '/' && i + 1 < s.size() && s[i + 1] == '/') {
      i = std::min(s.find('\n', i), s.size());
      continue;
    }
    if (c == '/' && i + 1 < s.size() && s[i + 1] == '*') {
      const std::size_t end = std::min(s.find("*/", i), s.size() - 2) + 2;
      line += static_cast<u32>(
          std::count(s.begin() + static_cast<std::ptrdiff_t>(i), s.begin() + static_cast<std::ptrdiff_t>(end), '\n'));
      i = end;
      continue;
    }
    if (c == '"') {
      const std::size_t end = std::min(s.find('"', i + 1), s.size() - 1);
      out.push_back({s.substr(i, end + 1 - i), line});
      i = end + 1;
      continue;
    }
    if (word_character(c)) {
      std::size_t j = i;
      // "L1::no_allocate": the double colon belongs to the word, a label's single one does not.
      while (j < s.size() && (word_character(s[j]) || (s[j] == ':' && j + 1 < s.size() && s[j + 1] == ':') ||
                              (s[j] == ':' && j > i && s[j - 1] == ':')))
        ++j;
      out.push_back({s.substr(i, j - i), line});
      i = j;
      continue;
    }
    out.push_back({std::string(1, c), line});
    ++i;
  }
  return out;
}

struct Symbol {
  enum Kind : u8 { reg, parameter, argument, shared, local, memory, label, table } kind;
  i32 place = 0;
  u8 bits = 32;
  i64 value = 0;  // offset or address
  u32 bytes = 0;
};
using Scope = std::unordered_map<std::string, Symbol>;

struct Function {
  u32 entry = 0;
  i32 return_place = 0;
  struct Slot {
    u32 offset, bytes;
  };
  std::vector<Slot> results, arguments;
  std::vector<std::string> calls;
  bool defined = false;
};

u32 bytes_of_type(const std::string& t) {
  const std::size_t digit = t.find_first_of("0123456789");
  return digit == std::string::npos ? 1 : static_cast<u32>(std::stoul(t.substr(digit))) / 8;
}

u64 align_up(u64 v, u64 a) { return (v + a - 1) / a * a; }

class Parser {
 public:
  Parser(Program& p, const std::string& text) : program_(p), decoder_{p, {}}, tokens_(tokens_of(text)) {
    std::string line;
    for (const char c : text) {
      if (c == '\n')
        p.lines.push_back(line), line.clear();
      else
        line += c;
    }
    p.lines.push_back(line);
  }

  void run() {
    while (at_ < tokens_.size()) top_level();
    for (const auto& [index, name, line] : unresolved_calls_) {
      const auto f = functions_.find(name);
      if (f == functions_.end() || !f->second.defined) fail("calls '" + name + "', which is not defined", line);
    }
    // Functions' registers follow those of the largest kernel.
    const auto moved = [&](i32& place) {
      if (place >= function_words && place < function_words * 2) place += largest_kernel_ - function_words;
    };
    for (Insn& i : program_.code) {
      for (i32& place : i.op) moved(place);
      moved(i.guard);
    }
    for (i32& place : program_.lists) moved(place);
    program_.register_words =
        static_cast<u32>(align_up(static_cast<u64>(largest_kernel_ + function_next_ - function_words), 16));
    program_.kernel_local = static_cast<u32>(align_up(largest_local_, 16));
    program_.local_bytes =
        static_cast<u32>(align_up(program_.kernel_local + (function_local_next_ - function_local), 16));
    program_.call_bytes = static_cast<u32>(align_up(call_bytes_, 16));
  }

 private:
  [[noreturn]] void fail(const std::string& what, u32 line) const {
    const std::string source = line >= 1 && line <= program_.lines.size() ? program_.lines[line - 1] : "";
    throw Error(program_.name + ":" + std::to_string(line) + ": " + what +
                (source.empty() ? ""
                                : ": " + source.substr(source.find_first_not_of(" \t") == std::string::npos
                                                           ? 0
                                                           : source.find_first_not_of(" \t"))));
  }
  const std::string& peek(std::size_t ahead = 0) const {
    static const std::string end;
    return at_ + ahead < tokens_.size() ? tokens_[at_ + ahead].text : end;
  }
  u32 line() const { return at_ < tokens_.size() ? tokens_[at_].line : static_cast<u32>(program_.lines.size()); }
  std::string take() {
    if (at_ >= tokens_.size()) fail("ends too early", line());
    return tokens_[at_++].text;
  }
  void expect(const char* what) {
    if (peek() != what) fail("has '" + peek() + "' where '" + what + "' is expected", line());
    ++at_;
  }
  bool accept(const char* what) {
    if (peek() != what) return false;
    ++at_;
    return true;
  }

  static bool is_number(const std::string& t) {
    return !t.empty() && std::isdigit(static_cast<unsigned char>(t[0])) != 0;
  }
  u64 number(const std::string& t, bool* is_float = nullptr) const {
    if (t.size() > 2 && t[0] == '0' && (t[1] == 'f' || t[1] == 'F') && t.size() == 10) {
      if (is_float != nullptr) *is_float = true;
      return std::stoull(t.substr(2), nullptr, 16);
    }
    if (t.size() > 2 && t[0] == '0' && (t[1] == 'd' || t[1] == 'D') && t.size() == 18) {
      if (is_float != nullptr) *is_float = true;
      return std::stoull(t.substr(2), nullptr, 16);
    }
    return std::stoull(t, nullptr, 0);
  }
  i64 integer() {
    const bool negative = accept("-");
    const std::string t = take();
    if (!is_number(t)) fail("has '" + t + "' where a number is expected", line());
    const i64 v = static_cast<i64>(number(t));
    return negative ? -v : v;
  }

  // [.align N] .type name [ '[' N ']' ]
  struct Declaration {
    u32 align = 0, element = 1;
    u64 bytes = 1;
    std::string name, type;
    bool array = false, open = false;
  };
  Declaration declaration() {
    Declaration d;
    for (;;) {
      if (peek() == ".align") {
        take();
        d.align = static_cast<u32>(integer());
      } else if (peek() == ".ptr" || peek() == ".managed" || peek() == ".global" || peek() == ".const") {
        take();
      } else if (peek() == ".v2" || peek() == ".v4") {
        fail("declares a vector, which is not supported", line());
      } else if (peek()[0] == '.') {
        d.type = take().substr(1);
      } else {
        break;
      }
    }
    d.element = bytes_of_type(d.type);
    d.bytes = d.element;
    d.name = take();
    while (accept("[")) {
      d.array = true;
      if (accept("]")) {
        d.open = true, d.bytes = 0;
        continue;
      }
      d.bytes *= static_cast<u64>(integer());
      expect("]");
    }
    if (d.align == 0) d.align = d.element;
    return d;
  }

  // A variable in device memory, with its initial value.
  void global_variable(bool external) {
    const Declaration d = declaration();
    if (external && !d.open) fail("declares '" + d.name + "' of another module, which is not supported", line());
    DeviceMemory& memory = DeviceMemory::instance();
    const u64 address = memory.allocate(d.bytes);
    if (address == 0) fail("has no memory for '" + d.name + "'", line());
    program_.owned.push_back(address);
    std::byte* const data = memory.raw(address);
    std::memset(data, 0, d.bytes);
    memory.mark(address, d.bytes, initialised);  // without an initial value it is zero
    if (accept("=")) {
      u64 at = 0;
      const auto put = [&](u64 v) {
        if (at + d.element <= d.bytes) std::memcpy(data + at, &v, d.element);
        at += d.element;
      };
      const auto value = [&] {
        const bool negative = accept("-");
        const std::string t = take();
        if (!is_number(t)) {
          const auto v = program_.variables.find(t == "generic" ? peek(1) : t);
          if (v == program_.variables.end())
            fail("initialises '" + d.name + "' with '" + t + "', which is not supported", line());
          if (t == "generic") {
            take(), take();
            expect(")");
          }
          put(v->second.address);
          return;
        }
        const u64 v = number(t);
        put(negative ? ~v + 1 : v);
      };
      if (accept("{")) {
        while (!accept("}")) {
          if (peek() == ",")
            take();
          else
            value();
        }
      } else {
        value();
      }
    }
    program_.variables[d.name] = {Space::global, address, d.bytes};
    globals_[d.name] = {Symbol::memory, 0, 64, static_cast<i64>(address), static_cast<u32>(d.bytes)};
    expect(";");
  }

  void shared_variable(Scope& scope, bool external) {
    const Declaration d = declaration();
    expect(";");
    if (external) {
      scope[d.name] = {Symbol::shared, 0, 64, -1, 0};  // dynamic: starts where the static part of the kernel ends
      return;
    }
    // Between any two variables there is a gap that is never valid.
    const u32 offset = static_cast<u32>(align_up(shared_used_ + 16, std::max<u32>(d.align, 16)));
    scope[d.name] = {Symbol::shared, 0, 64, offset, static_cast<u32>(d.bytes)};
    shared_.emplace_back(offset, static_cast<u32>(d.bytes));
    shared_used_ = offset + static_cast<u32>(d.bytes);
  }

  void top_level() {
    const std::string t = take();
    if (t == ".version") {
      take();
      return;
    }
    if (t == ".target") {
      take();
      while (accept(",")) take();
      return;
    }
    if (t == ".address_size") {
      take();
      return;
    }
    if (t == ".file") {
      const auto index = static_cast<std::size_t>(integer());
      if (program_.files.size() <= index) program_.files.resize(index + 1);
      std::string file = take();
      if (file.size() >= 2) file = file.substr(1, file.size() - 2);
      program_.files[index] = file;
      while (accept(",")) take();
      return;
    }
    if (t == ".section") {
      take();
      expect("{");
      while (take() != "}") {
      }
      return;
    }
    if (t == ".visible" || t == ".weak" || t == ".common") return;
    if (t == ".extern") {
      external_ = true;
      return;
    }
    const bool external = external_;
    external_ = false;
    if (t == ".global" || t == ".const") return global_variable(external);
    if (t == ".shared") return shared_variable(globals_, external);
    if (t == ".entry") return function(true, external);
    if (t == ".func") return function(false, external);
    if (t == ";") return;
    if (t == ".alias" || t == ".pragma") {
      while (take() != ";") {
      }
      return;
    }
    fail("has '" + t + "' at the top level, which is not known", tokens_[at_ - 1].line);
  }

  std::vector<Declaration> parameter_list() {
    std::vector<Declaration> list;
    if (!accept("(")) return list;
    while (!accept(")")) {
      if (accept(",")) continue;
      if (!accept(".param") && !accept(".reg")) fail("has a parameter of another kind", line());
      list.push_back(declaration());
    }
    return list;
  }

  void function(bool entry, bool external) {
    accept(".noreturn");
    std::vector<Declaration> results;
    if (!entry) results = parameter_list();
    Kernel kernel;
    kernel.name = take();
    const std::vector<Declaration> parameters = parameter_list();
    if (!entry) declare(functions_[kernel.name], results, parameters);
    directives(kernel);
    if (accept(";")) {
      if (external && (kernel.name == "__assertfail" || kernel.name == "vprintf")) externals_.push_back(kernel.name);
      return;
    }
    open_body(entry, kernel, results, parameters);
    const auto module_shared = shared_;  // of the whole module, known so far
    const u32 module_used = shared_used_;
    kernel.entry = static_cast<u32>(program_.code.size());
    const i32 first_word = next_word_;
    expect("{");
    while (!scopes_.empty()) statement();
    emit_return(line());
    kernel.static_shared = static_cast<u32>(align_up(shared_used_ + (shared_.empty() ? 0 : 16), 16));
    resolve(kernel.static_shared);
    if (entry) {
      kernel.local_bytes = static_cast<u32>(local_bytes_);
      largest_kernel_ = std::max(largest_kernel_, next_word_);
      largest_local_ = std::max(largest_local_, local_bytes_);
      kernel.shared = shared_;
      kernel.registers = static_cast<u32>(next_word_ - first_word) / lanes;
      program_.kernels.push_back(kernel);
    } else {
      function_next_ = next_word_;
      function_local_next_ = local_bytes_;
      functions_[kernel.name].entry = kernel.entry;
      for (Insn& i : program_.code)
        if (i.run != nullptr && i.flags == 255 && i.target == function_key(kernel.name))
          i.target = kernel.entry, i.flags = 0;
      if (shared_used_ != module_used) fail("declares shared memory in a function, which is not supported", line());
    }
    shared_ = module_shared;
    shared_used_ = module_used;
  }

  /// Gives a function its places for results and arguments, at its first declaration.
  void declare(Function& f, const std::vector<Declaration>& results, const std::vector<Declaration>& parameters) {
    if (f.return_place != 0) return;
    f.return_place = function_next_;
    function_next_ += lanes;
    const auto slot = [&](const Declaration& d) {
      call_bytes_ = align_up(call_bytes_, std::max<u32>(d.align, 16));
      const Function::Slot s{static_cast<u32>(call_bytes_), static_cast<u32>(d.bytes)};
      call_bytes_ += d.bytes;
      return s;
    };
    for (const Declaration& d : results) f.results.push_back(slot(d));
    for (const Declaration& d : parameters) f.arguments.push_back(slot(d));
  }

  /// Directives between a kernel's parameters and its body.
  void directives(Kernel& kernel) {
    for (;;) {
      if (accept(".maxntid") || accept(".reqntid")) {
        u32 n = static_cast<u32>(integer());
        while (accept(",")) n *= static_cast<u32>(integer());
        kernel.max_threads = n;
      } else if (accept(".minnctapersm") || accept(".maxnreg") || accept(".maxclusterrank")) {
        integer();
      } else if (accept(".pragma")) {
        take();
        accept(";");
      } else if (!accept(".noreturn")) {
        return;
      }
    }
  }

  /// An empty scope with the parameters, and everything that counts within one body.
  void open_body(bool entry, Kernel& kernel, const std::vector<Declaration>& results,
                 const std::vector<Declaration>& parameters) {
    scopes_.assign(1, {});
    Scope& scope = scopes_.back();
    labels_.clear();
    fixups_.clear();
    tables_.clear();
    current_function_ = entry ? nullptr : &functions_[kernel.name];
    if (entry) {
      for (const Declaration& d : parameters) {
        const u32 offset = static_cast<u32>(align_up(kernel.parameter_bytes, d.align));
        kernel.parameters.push_back({offset, static_cast<u32>(d.bytes)});
        kernel.parameter_bytes = offset + static_cast<u32>(d.bytes);
        scope[d.name] = {Symbol::parameter, 0, 64, offset, static_cast<u32>(d.bytes)};
      }
    } else {
      Function& f = *current_function_;
      f.defined = true;
      for (std::size_t k = 0; k < results.size(); ++k)
        scope[results[k].name] = {Symbol::argument, 0, 64, f.results[k].offset, f.results[k].bytes};
      for (std::size_t k = 0; k < parameters.size(); ++k)
        scope[parameters[k].name] = {Symbol::argument, 0, 64, f.arguments[k].offset, f.arguments[k].bytes};
    }
    next_word_ = entry ? special_count * lanes : function_next_;
    local_bytes_ = entry ? 0 : function_local_next_;
    predicate_left_ = 0;
    // The size of static shared memory, where dynamic memory starts, is known only after the body.
    dynamic_fixups_.clear();
  }

  /// Fills in what a body's instructions could not know: dynamic shared memory, labels, tables of labels.
  void resolve(u32 static_shared) {
    for (const u32 index : dynamic_fixups_) {
      Insn& i = program_.code[index];
      i.op[1] = decoder_.constant(static_shared, i.op[2] == 1);
    }
    for (const auto& [index, label, at] : fixups_) {
      const auto l = labels_.find(label);
      if (l == labels_.end()) fail("branches to '" + label + "', which is no label", at);
      program_.code[index].target = l->second;
    }
    for (const auto& [index, table, at] : table_fixups_) {
      const auto t = tables_.find(table);
      if (t == tables_.end()) fail("branches through '" + table + "', which is no table", at);
      program_.code[index].list = static_cast<u32>(program_.lists.size());
      program_.code[index].imm = static_cast<i64>(t->second.size());
      for (const std::string& label : t->second) program_.lists.push_back(static_cast<i32>(labels_.at(label)));
    }
    table_fixups_.clear();
  }

  u32 function_key(const std::string& name) {
    for (std::size_t k = 0; k < function_names_.size(); ++k)
      if (function_names_[k] == name) return static_cast<u32>(k);
    function_names_.push_back(name);
    return static_cast<u32>(function_names_.size() - 1);
  }

  i32 reserve(u8 bits) {
    if (bits == 1) {
      // Predicates share slots of one word each.
      if (predicate_left_ == 0) predicate_next_ = next_word_, next_word_ += 16, predicate_left_ = 16;
      --predicate_left_;
      return predicate_next_++;
    }
    const i32 place = next_word_;
    next_word_ += bits == 64 ? 2 * lanes : lanes;
    return place;
  }

  const Symbol* find(const std::string& name) const {
    for (std::size_t k = scopes_.size(); k-- > 0;)
      if (const auto s = scopes_[k].find(name); s != scopes_[k].end()) return &s->second;
    const auto s = globals_.find(name);
    return s == globals_.end() ? nullptr : &s->second;
  }

  void statement() {
    const u32 start = line();
    const std::string t = peek();
    if (t == "{") {
      take();
      scopes_.emplace_back();
    } else if (t == "}") {
      take();
      scopes_.pop_back();
    } else if (accept(".reg")) {
      registers();
    } else if (accept(".local")) {
      variable(Symbol::local, local_bytes_);
    } else if (accept(".shared")) {
      shared_variable(scopes_.back(), false);
    } else if (accept(".param")) {
      variable(Symbol::argument, call_bytes_);
    } else if (accept(".loc")) {
      location();
    } else if (accept(".pragma")) {
      while (take() != ";") {
      }
    } else if (peek(1) == ":") {
      take(), take();
      label(t, start);
    } else if (!accept(";")) {
      instruction(start);
    }
  }

  /// .reg type name, name<count>, ... ;
  void registers() {
    const std::string type = take().substr(1);
    const u8 bits = type == "pred" ? 1 : static_cast<u8>(bytes_of_type(type) <= 4 ? 32 : 64);
    do {
      const std::string name = take();
      if (accept("<")) {
        const i64 n = integer();
        expect(">");
        for (i64 k = 0; k < n; ++k) scopes_.back()[name + std::to_string(k)] = {Symbol::reg, reserve(bits), bits, 0, 0};
      } else {
        scopes_.back()[name] = {Symbol::reg, reserve(bits), bits, 0, 0};
      }
    } while (accept(","));
    expect(";");
  }

  /// A variable of local memory or of a call's parameters, after the `used` bytes of that memory.
  void variable(decltype(Symbol::kind) kind, u64& used) {
    const Declaration d = declaration();
    expect(";");
    used = align_up(used, std::max<u32>(d.align, 16));
    scopes_.back()[d.name] = {kind, 0, 64, static_cast<i64>(used), static_cast<u32>(d.bytes)};
    used += d.bytes;
  }

  /// .loc file line column, function_name label + offset, inlined_at file line column
  void location() {
    const auto file = static_cast<u32>(integer()), at = static_cast<u32>(integer());
    integer();
    while (accept(",")) {
      if (accept("function_name")) {
        take();
        if (accept("+")) integer();
      } else if (accept("inlined_at")) {
        integer(), integer(), integer();
      }
    }
    source_ = static_cast<u32>(program_.sources.size());
    program_.sources.emplace_back(file, at);
  }

  /// What a label stands for: a table of labels, or the next instruction.
  void label(const std::string& name, u32 at) {
    if (accept(".branchtargets")) {
      auto& table = tables_[name];
      do table.push_back(take());
      while (accept(","));
      return expect(";");
    }
    if (peek() == ".callprototype") fail("calls through a pointer, which is not supported", at);
    labels_[name] = static_cast<u32>(program_.code.size());
  }

  static inline const std::unordered_map<std::string, Special> special_registers{
      {"%tid.x", tid_x},     {"%tid.y", tid_y},       {"%tid.z", tid_z},       {"%ntid.x", ntid_x},
      {"%ntid.y", ntid_y},   {"%ntid.z", ntid_z},     {"%ctaid.x", ctaid_x},   {"%ctaid.y", ctaid_y},
      {"%ctaid.z", ctaid_z}, {"%nctaid.x", nctaid_x}, {"%nctaid.y", nctaid_y}, {"%nctaid.z", nctaid_z},
      {"%laneid", laneid},   {"%warpid", warpid},     {"%clock", clock_}};

  Operand operand() {
    Operand o;
    if (accept("{")) {
      o.kind = Operand::vector;
      while (!accept("}")) {
        if (accept(",")) continue;
        o.parts.push_back(operand());
      }
      return o;
    }
    if (accept("[")) return address();
    if (accept("!")) o.negated = true;
    const bool minus = accept("-");
    const u32 at = line();
    const std::string t = take();
    if (is_number(t)) {
      o.kind = Operand::immediate;
      o.value = static_cast<i64>(number(t, &o.is_float));
      if (minus) o.value = -o.value;
      return o;
    }
    if (t == "_") {
      o.kind = Operand::sink;
      return o;
    }
    if (t == "WARP_SZ") {
      o.kind = Operand::immediate, o.value = lanes;
      return o;
    }
    if (const auto s = special_registers.find(t); s != special_registers.end()) {
      o.kind = Operand::reg, o.bits = 32, o.place = s->second * lanes;
      return o;
    }
    const Symbol* s = find(t);
    if (s == nullptr) {
      if (t[0] == '%') fail("uses '" + t + "', which is not declared or not supported", at);
      o.kind = Operand::symbol, o.name = t, o.value = -1;  // a label or a function
      return o;
    }
    if (s->kind == Symbol::reg) {
      o.kind = Operand::reg, o.place = s->place, o.bits = s->bits;
    } else {
      o.kind = Operand::symbol, o.name = t, o.value = s->value;
      while (accept("+")) o.value += integer();
    }
    if (accept("|")) {
      const std::string p = take();
      const Symbol* q = find(p);
      if (p != "_" && (q == nullptr || q->kind != Symbol::reg || q->bits != 1))
        fail("uses '" + p + "', which is no predicate", at);
      if (p != "_") o.second = q->place;
    }
    return o;
  }

  /// The rest of [base + offset]: base is a register, a variable or a number.
  Operand address() {
    Operand o;
    o.kind = Operand::address;
    const u32 at = line();
    const bool minus = accept("-");
    const std::string base = take();
    i64 offset = 0;
    if (is_number(base)) {
      offset = static_cast<i64>(number(base)) * (minus ? -1 : 1);
      o.place = decoder_.constant(0, true);
    } else {
      const Symbol* s = find(base);
      if (s == nullptr) fail("uses '" + base + "', which is not declared", at);
      if (s->kind == Symbol::reg) {
        o.place = s->place;
        o.wide = s->bits == 64;
      } else {
        if (s->kind == Symbol::parameter)
          o.name = "kernel";
        else if (s->kind == Symbol::argument)
          o.name = "function";
        if (s->kind == Symbol::shared && s->value < 0)
          fail("addresses dynamic shared memory directly, which is not supported", at);
        o.place = decoder_.constant(0, true);
        offset = s->value;
      }
    }
    while (accept("+")) offset += integer();
    o.value = offset;
    expect("]");
    return o;
  }

  Insn& emit(u32 at) {
    Insn& i = program_.code.emplace_back();
    i.line = at;
    i.source = source_;
    return i;
  }

  void emit_return(u32 at) {
    Insn& i = emit(at);
    if (current_function_ == nullptr)
      decoder_.decode({"exit"}, {}, i);
    else {
      decoder_.decode({"vitrine_return"}, {}, i);
      i.op[0] = current_function_->return_place;
    }
  }

  void instruction(u32 at) {
    i32 guard = -1;
    bool negated = false;
    if (accept("@")) {
      negated = accept("!");
      const std::string p = take();
      const Symbol* s = find(p);
      if (s == nullptr || s->bits != 1) fail("is guarded by '" + p + "', which is no predicate", at);
      guard = s->place;
    }
    const u32 line_here = line();
    const std::string opcode = take();
    std::vector<std::string> parts;
    for (std::size_t from = 0; from <= opcode.size();) {
      const std::size_t dot = std::min(opcode.find('.', from), opcode.size());
      parts.push_back(opcode.substr(from, dot - from));
      from = dot + 1;
    }
    if (parts[0] == "call") return call(guard, negated, line_here);
    std::vector<Operand> operands;
    while (!accept(";")) {
      if (accept(",")) continue;
      operands.push_back(operand());
    }
    if (parts[0] == "ret" || parts[0] == "exit") {
      emit_return(line_here);
      if (parts[0] == "exit") decoder_.decode({"exit"}, {}, program_.code.back());
      program_.code.back().guard = guard;
      program_.code.back().guard_negated = negated;
      return;
    }
    const auto index = static_cast<u32>(program_.code.size());
    Insn& i = emit(line_here);
    i.guard = guard;
    i.guard_negated = negated;
    bool known = false;
    try {
      known = decoder_.decode(parts, operands, i);
    } catch (const Error& e) {
      fail(std::string("'") + opcode + "' " + e.what(), line_here);
    }
    if (!known) fail("has the instruction '" + opcode + "', which this interpreter does not know", line_here);
    if (parts[0] == "bra") fixups_.push_back({index, operands.at(0).name, line_here});
    if (parts[0] == "brx") table_fixups_.push_back({index, operands.at(1).name, line_here});
    // The address of dynamic shared memory is filled in at the end of the kernel.
    for (std::size_t k = 1; k < operands.size(); ++k) {
      if (operands[k].kind != Operand::symbol) continue;
      const Symbol* s = find(operands[k].name);
      if (s == nullptr || s->kind != Symbol::shared || s->value >= 0) continue;
      if (parts[0] != "mov" || operands[k].value != -1)
        fail("uses dynamic shared memory other than by its address, which is not supported", line_here);
      program_.code[index].op[2] = parts.back().find("64") != std::string::npos ? 1 : 0;
      dynamic_fixups_.push_back(index);
    }
  }

  // call (result, ...), name, (argument, ...);
  void call(i32 guard, bool negated, u32 at) {
    std::vector<std::string> results, arguments;
    const auto names = [&](std::vector<std::string>& list) {
      if (!accept("(")) return;
      while (!accept(")"))
        if (!accept(",")) list.push_back(take());
      accept(",");
    };
    names(results);
    const std::string name = take();
    accept(",");
    names(arguments);
    expect(";");
    if (guard >= 0) fail("calls under a predicate, which is not supported", at);
    (void)negated;
    if (std::find(externals_.begin(), externals_.end(), name) != externals_.end()) {
      if (name == "__assertfail") decoder_.decode({"trap"}, {}, emit(at));
      return;  // vprintf prints nothing
    }
    const auto f = functions_.find(name);
    if (f == functions_.end()) fail("calls '" + name + "', which is not declared", at);
    if (current_function_ == &f->second) fail("calls itself, which is not supported", at);
    const auto copy = [&](const std::string& from, const Function::Slot& to, bool back) {
      const Symbol* s = find(from);
      if (s == nullptr || s->kind != Symbol::argument) fail("passes '" + from + "', which is no parameter", at);
      Insn& i = emit(at);
      decoder_.decode({"vitrine_copy"}, {}, i);
      i.op[0] = static_cast<i32>(back ? static_cast<i64>(to.offset) : s->value);
      i.op[1] = static_cast<i32>(back ? s->value : static_cast<i64>(to.offset));
      i.op[2] = static_cast<i32>(to.bytes);
    };
    if (arguments.size() != f->second.arguments.size() || results.size() != f->second.results.size())
      fail("calls '" + name + "' with another number of parameters", at);
    for (std::size_t k = 0; k < arguments.size(); ++k) copy(arguments[k], f->second.arguments[k], false);
    const auto index = static_cast<u32>(program_.code.size());
    Insn& i = emit(at);
    decoder_.decode({"vitrine_call"}, {}, i);
    i.op[0] = f->second.return_place;
    if (f->second.defined) {
      i.target = f->second.entry;
    } else {
      i.target = function_key(name);
      i.flags = 255;  // until the function is there
    }
    unresolved_calls_.push_back({index, name, at});
    for (std::size_t k = 0; k < results.size(); ++k) copy(results[k], f->second.results[k], true);
  }

  struct Fixup {
    u32 index;
    std::string name;
    u32 line;
  };

  Program& program_;
  Decoder decoder_;
  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  Scope globals_;
  std::vector<Scope> scopes_;
  std::unordered_map<std::string, Function> functions_;
  std::vector<std::string> function_names_, externals_;
  std::unordered_map<std::string, u32> labels_;
  std::unordered_map<std::string, std::vector<std::string>> tables_;
  std::vector<Fixup> fixups_, table_fixups_, unresolved_calls_;
  std::vector<u32> dynamic_fixups_;
  std::vector<std::pair<u32, u32>> shared_;  // offset and bytes of variables
  Function* current_function_ = nullptr;
  u32 shared_used_ = 0, source_ = 0;
  u64 call_bytes_ = 0, local_bytes_ = 0;
  u64 largest_local_ = 0, function_local_next_ = function_local;
  i32 next_word_ = 0, predicate_next_ = 0, largest_kernel_ = special_count * lanes, function_next_ = function_words;
  int predicate_left_ = 0;
  bool external_ = false;
};

}  // namespace

Module::Module(const std::string& text, std::string name) : program_(std::make_unique<Program>()) {
  program_->name = std::move(name);
  Parser(*program_, text).run();
}

}  // namespace vitrine::ptx
