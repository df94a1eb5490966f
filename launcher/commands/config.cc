// timepipe config

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "launcher/commands/commands.h"
#include "launcher/commands/shared_options.h"
#include "launcher/config/config_text.h"

namespace timepipe {

void add_config(CLI::App& app, int& status) {
  CLI::App& command = *app.add_subcommand(
      "config", "Print the resolved and validated configuration");
  const auto options = std::make_shared<ConfigOptions>();
  options->add_to(command);
  command.footer(
      "Example:\n  timepipe config configs/demo.textproto model.layer=mlp");
  command.callback([=, &status] {
    std::cout << to_text(load_config(options->path, options->overrides));
    status = 0;
  });
}

}  // namespace timepipe
