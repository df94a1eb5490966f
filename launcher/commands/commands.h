#pragma once

namespace CLI {
class App;
}

namespace timepipe {

// Each adds a command to the program: its options, its help and what it does.
// When the command line is parsed, the command that it names runs, sets the
// exit status and throws what main() reports.
void add_train(CLI::App& app, int& status);
void add_eval(CLI::App& app, int& status);
void add_score(CLI::App& app, int& status);
void add_generate(CLI::App& app, int& status);
void add_data(CLI::App& app, int& status);
void add_checkpoint(CLI::App& app, int& status);
void add_config(CLI::App& app, int& status);
void add_plan(CLI::App& app, int& status);
void add_bench(CLI::App& app, int& status);

// Those of `timepipe data` and `timepipe checkpoint` that have files of their
// own: data ngram; checkpoint import, export and verify-export.
void add_ngram(CLI::App& data, int& status);
void add_exchange(CLI::App& checkpoint, int& status);

}  // namespace timepipe
