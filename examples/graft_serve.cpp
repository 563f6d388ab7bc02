// SPDX-License-Identifier: MIT
// A model and many adapters behind one port.
#include "support/program.hpp"
#include "support/serving.hpp"

#include <graft/core/error.hpp>

#include <httplib.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <iostream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>

namespace {

using json = programs::service::json;

struct settings {
  programs::serving_options serving;
  std::vector<std::string> adapters;  // NAME=DIR
  std::string host = "127.0.0.1";
  int port = 8080;
  std::size_t max_body = 1 << 20, connections = 128, wait = 2;  // milliseconds
};

void reply(httplib::Response& response, int status, const json& body) {
  response.status = status;
  response.set_content(body.dump(-1, ' ', false, json::error_handler_t::replace) + "\n",
                       "application/json");
}
void refuse(httplib::Response& response, int status, const std::string& why) {
  reply(response, status, {{"error", why}});
  if (status == 429)
    response.set_header("Retry-After", "1");
}

// Sends what f returns, or why it does not.
void answer(httplib::Response& response, const std::function<json()>& f, int status = 200) {
  try {
    reply(response, status, f());
  } catch (const programs::refusal& e) {
    refuse(response, e.status, e.what());
  } catch (const std::exception& e) {
    refuse(response, 500, graft::text_of(e));
  }
}

void add_routes(httplib::Server& server, programs::service& service) {
  using httplib::Request, httplib::Response;
  const std::string adapter = R"(/adapters/([\s\S]{1,200}))";
  server.Post("/predict", [&](const Request& request, Response& response) {
    answer(response, [&] { return service.predict(request.body); });
  });
  server.Get("/adapters", [&](const Request&, Response& response) {
    answer(response, [&] { return service.adapters(); });
  });
  server.Get("/health", [&](const Request&, Response& response) {
    answer(response, [&] { return service.health(); });
  });
  server.Put(adapter, [&](const Request& request, Response& response) {
    bool added = false;
    answer(response, [&] {
      auto [body, is_new] = service.put(request.matches[1], request.body);
      added = is_new;
      return body;
    });
    if (added)
      response.status = 201;
  });
  server.Delete(adapter, [&](const Request& request, Response& response) {
    answer(response, [&] { return service.remove(request.matches[1]); });
  });
}

// What is refused, and what is said, before a request reaches its route.
void add_limits(httplib::Server& server, const settings& s) {
  using httplib::Request, httplib::Response;
  server.new_task_queue = [n = s.connections] { return new httplib::ThreadPool(n); };
  server.set_payload_max_length(s.max_body);
  server.set_tcp_nodelay(true);
  // A connection has one request: what is left of a body that was refused is never taken for the
  // next one, and nobody holds a thread who does not ask.
  server.set_keep_alive_max_count(1);
  server.set_pre_routing_handler([](const Request& request, Response& response) {
    // Bodies are taken as they come, and answers given whole.
    auto& asked = const_cast<Request&>(request);
    asked.ranges.clear();
    for (const char* header : {"Content-Type", "Content-Encoding", "Accept-Encoding"})
      asked.headers.erase(header);
    const bool has_body = request.method != "GET" && request.method != "HEAD" &&
                          request.method != "DELETE" && request.method != "OPTIONS";
    if (!request.has_header("Transfer-Encoding") &&
        (!has_body || request.has_header("Content-Length")))
      return httplib::Server::HandlerResponse::Unhandled;
    refuse(response, 411, "expected a Content-Length");  // chunks know no limit
    return httplib::Server::HandlerResponse::Handled;
  });
  server.set_error_handler([most = s.max_body](const Request&, Response& response) {
    if (!response.body.empty())
      return;
    refuse(response, response.status,
           response.status == 404 ? "expected POST /predict, GET /adapters, GET /health, PUT or "
                                    "DELETE /adapters/NAME"
           : response.status == 413
               ? "expected a body of at most " + std::to_string(most) + " bytes"
               : "expected an HTTP request");
  });
}

// Returns the port. Throws graft::error where the address cannot be had.
int bind(httplib::Server& server, const settings& s) {
  int socket = -1;
  // Without SO_REUSEPORT, which would share the port with any other server on it.
  server.set_socket_options([&](auto made) {
    const int yes = 1;
    socket = made;
    setsockopt(made, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  });
  int port = s.port;
  if (port == 0)
    port = server.bind_to_any_port(s.host);
  else if (!server.bind_to_port(s.host, port))
    port = -1;
  if (port < 0)
    throw graft::error(s.host + ", port " + std::to_string(s.port) +
                       ": expected an address that is free, found none");
  listen(socket, SOMAXCONN);  // instead of httplib's few
  return port;
}

// Computes until SIGINT or SIGTERM, and then what is queued.
void serve(httplib::Server& server, programs::service& service, const sigset_t& signals) {
  std::atomic<bool> failed = false;
  std::thread watcher([&] {
    int signal = 0;
    sigwait(&signals, &signal);
    service.close();
  });
  std::thread listener([&] {
    failed = !server.listen_after_bind();
    service.close();
  });
  service.run();
  while (!server.is_running() && !failed)
    std::this_thread::yield();
  server.stop();
  listener.join();
  pthread_kill(watcher.native_handle(), SIGTERM);  // where it still waits for one
  watcher.join();
  if (failed)
    throw graft::error("expected to go on listening, found the socket closed");
}

std::pair<std::string, std::string> named_folder(const std::string& text) {
  const std::size_t end = text.find('=');
  if (end == std::string::npos)
    throw CLI::ValidationError("--adapter", "expected NAME=DIR, found " + text);
  return {text.substr(0, end), text.substr(end + 1)};
}

void add_options(CLI::App& app, settings& s) {
  auto& serving = s.serving;
  app.add_option("--model", serving.model, "Folder of the pretrained model")
      ->required()
      ->type_name("DIR");
  app.add_option("--adapter", s.adapters, "An adapter and its folder; may be given again")
      ->type_name("NAME=DIR")
      ->allow_extra_args(false);
  app.add_option("--host", s.host, "Address to listen on (default: 127.0.0.1, this machine alone)")
      ->type_name("ADDRESS");
  app.add_option("--port", s.port, "Port to listen on, 0: any that is free (default: 8080)")
      ->type_name("N")
      ->check(CLI::Range(0, 65535));
  app.add_option(
         "--allow-adapters", serving.allowed,
         "PUT and DELETE /adapters/NAME are allowed, with adapters of folders below this one")
      ->type_name("DIR")
      ->check(CLI::ExistingDirectory);
  const auto number = [&](const char* name, auto& value, std::size_t least, std::size_t most,
                          const char* text) {
    app.add_option(name, value, text)->type_name("N")->check(CLI::Range(least, most));
  };
  number("--max-adapters", serving.adapters, 1, 1 << 20,
         "Adapters that may be held at once (default: 1024)");
  number("--max-batch", serving.limits.batch, 1, 1 << 16,
         "Sequences that are computed at once (default: 64)");
  number("--max-queue", serving.limits.queue, 1, 1 << 24,
         "Texts that may wait: more are refused (default: 1024)");
  number("--max-body", s.max_body, 1, std::size_t{1} << 32,
         "Bytes of a request's body (default: 1048576)");
  number("--max-connections", s.connections, 1, 1000,
         "Requests that are read at once; more wait (default: 128)");
  number("--max-wait", s.wait, 0, 60000,
         "Milliseconds that a batch which is not full waits for company (default: 2)");
  app.add_option(
         "--max-length", serving.max_length,
         "Tokens that are read of a text or, with its question, in one piece (default: as in "
         "training)")
      ->type_name("N")
      ->check(CLI::Range(3, 1 << 20));
  programs::add_compute(app, serving.with);
  programs::add_threads(app);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Answers over HTTP, in JSON, with a model and any number of LoRA adapters over it: POST "
      "/predict {\"adapter\": \"NAME\", \"texts\": [\"...\"]}, GET /adapters, PUT and DELETE "
      "/adapters/NAME, GET /health. Requests that wait are computed together, whatever their "
      "adapters. There is no encryption and nobody is asked who they are: where other machines are "
      "to reach it, put a server before it that does both.",
      "graft-serve");
  settings s;
  add_options(app, s);
  return programs::run(app, argc, argv, [&] {
    programs::check_compute(s.serving.with);
    sigset_t signals;  // for the thread that waits for them: all others begin with them blocked
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);

    s.serving.limits.wait = std::chrono::milliseconds(s.wait);
    std::vector<std::pair<std::string, std::string>> adapters;
    for (const std::string& text : s.adapters)
      adapters.push_back(named_folder(text));
    programs::service service(s.serving);
    for (const auto& [name, folder] : adapters)
      if (!service.load(name, folder))
        throw CLI::ValidationError("--adapter", name + ": expected a name once, found it again");
    httplib::Server server;
    add_limits(server, s);
    add_routes(server, service);
    const int port = bind(server, s);
    const bool v6 = s.host.find(':') != std::string::npos;
    std::cout << "listening on http://" << (v6 ? "[" : "") << s.host << (v6 ? "]" : "") << ':'
              << port << std::endl;
    serve(server, service, signals);
  });
}
