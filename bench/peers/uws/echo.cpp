// Raw echo on uWebSockets, one thread, no compression, no JSON: `uws-echo PORT`, on 127.0.0.1. bench/peers/uws/build compiles it.
#include <cstdlib>
#include <string_view>

#include "App.h"

struct Nothing {};

int main(int count, char **words) {
    if (count != 2) return 2;
    uWS::App::WebSocketBehavior<Nothing> echo;
    echo.compression = uWS::DISABLED;
    echo.maxPayloadLength = 1024 * 1024;
    // As for the other servers: a burst of 16 messages of 64 KB fits, and an idle connection stays.
    echo.maxBackpressure = 4 * 1024 * 1024;
    echo.idleTimeout = 0;
    echo.sendPingsAutomatically = false;
    echo.message = [](auto *socket, std::string_view text, uWS::OpCode code) { socket->send(text, code, false); };
    uWS::App app;
    app.ws<Nothing>("/*", std::move(echo)).listen("127.0.0.1", std::atoi(words[1]), [](auto *listening) {
        if (!listening) std::exit(1);
    });
    app.run();
}
