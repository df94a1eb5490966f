#pragma once

namespace CLI {
class App;
}

namespace timepipe {

// Adds `timepipe data` and its subcommands; running one sets the exit status.
// Those of the other commands are in main.cc.
void add_data(CLI::App& app, int& status);

}  // namespace timepipe
