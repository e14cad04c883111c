#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string_view>

#include "core/host/io/file.h"
#include "core/host/utf8.h"
#include "tools/commands.h"

namespace vitrine::tools {

std::atomic<bool> stop_requested{false};

namespace {

void on_interrupt(int) {
  // A second Ctrl-C ends at once, for whoever does not want to wait for the save.
  if (stop_requested.exchange(true)) std::_Exit(130);
}

// A file that is mapped became shorter while it was read: there is no way back into the code that read it.
void on_lost_page(int) {
  constexpr char sentence[] = "vitrine: a file that is being read has become shorter\n";
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, sentence, sizeof sentence - 1);
  std::_Exit(1);
}

// Whether an option names standard output as the place of data: messages then go to standard error. (--ledger - is a
// table among the messages.)
bool writes_to_standard_output(int argc, char** argv) {
  for (int i = 2; i < argc; ++i) {
    const std::string_view word = argv[i];
    const std::size_t equals = word.starts_with("--") ? word.find('=') : std::string_view::npos;
    const std::string_view name = equals == std::string_view::npos ? argv[i - 1] : word.substr(0, equals),
                           value = equals == std::string_view::npos ? word : word.substr(equals + 1);
    if (name != "--ledger" && (value == "-" || value == "/dev/stdout" || value == "/dev/fd/1")) return true;
  }
  return false;
}

void check_isa() {
  const char* cap = std::getenv("VITRINE_ISA");
  if (cap != nullptr && std::strcmp(cap, "ref") != 0 && std::strcmp(cap, "avx2") != 0 &&
      std::strcmp(cap, "avx512") != 0)
    throw Error("environment variable VITRINE_ISA is '" + std::string(cap) + "': expected ref, avx2 or avx512",
                Error::usage);
}

}  // namespace
}  // namespace vitrine::tools

int main(int argc, char** argv) {
  using namespace vitrine;
  std::signal(SIGINT, tools::on_interrupt);
  std::signal(SIGTERM, tools::on_interrupt);
  std::signal(SIGBUS, tools::on_lost_page);
  CLI::App app("Convolutional networks that you can see into: train them, explain their predictions op by op.",
               "vitrine");
  app.require_subcommand(1);
  app.set_version_flag("--version", VITRINE_VERSION);
  int status = 0;
  tools::add_train(app, status);
  tools::add_eval(app, status);
  tools::add_data(app, status);
  tools::add_predict(app, status);
  tools::add_explain(app, status);
  tools::add_study(app, status);
  tools::add_import(app, status);
  tools::add_export(app, status);
  tools::add_filters(app, status);
  tools::add_rules_report(app, status);
  tools::add_inspect(app, status);
  tools::add_lists(app, status);
  try {
    tools::check_isa();
    if (tools::writes_to_standard_output(argc, argv)) io::keep_standard_output_for_data();
    app.parse(argc, argv);
    if (std::fflush(stdout) != 0) throw Error("standard output cannot be written");
    return status;
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return app.exit(e);  // --help, --version
    std::fprintf(stderr, "vitrine: %s (vitrine --help tells more)\n", utf8::escaped(e.what()).c_str());
    return Error::usage;
  } catch (const Error& e) {
    std::fprintf(stderr, "vitrine: %s\n", utf8::escaped(e.what()).c_str());
    return e.kind();
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "vitrine: out of memory\n");
  } catch (const std::exception& e) {
    std::fprintf(stderr, "vitrine: %s\n", e.what());
  }
  return Error::input;
}
