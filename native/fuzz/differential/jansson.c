/* Jansson's reading of JSON texts, for tests/differential.rs: from standard input a length (32 bits, the highest first) and a
 * text, again and again; for each to standard output a length and an answer: '-' and the number of Jansson's error, or '+' and
 * the value. A value: n, t or f; i, its digits and ';'; d and the 8 bytes of a double, the highest first; s, a length and its
 * bytes; [, a count and values; {, a count, and keys (length, bytes) each with its value, in no order. */
#include <arpa/inet.h>
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *out;
static size_t used, room;

static void put(const void *bytes, size_t len) {
    if (used + len > room) {
        room = 2 * (used + len);
        out = realloc(out, room);
        if (!out) abort();
    }
    if (len) memcpy(out + used, bytes, len);
    used += len;
}

static void put_count(size_t count) {
    uint32_t n = htonl((uint32_t)count);
    put(&n, sizeof n);
}

static void put_value(json_t *value) {
    char digits[32];
    switch (json_typeof(value)) {
    case JSON_NULL: put("n", 1); break;
    case JSON_TRUE: put("t", 1); break;
    case JSON_FALSE: put("f", 1); break;
    case JSON_INTEGER:
        put(digits, (size_t)snprintf(digits, sizeof digits, "i%" JSON_INTEGER_FORMAT ";", json_integer_value(value)));
        break;
    case JSON_REAL: {
        double real = json_real_value(value);
        uint64_t bits;
        memcpy(&bits, &real, sizeof bits);
        put("d", 1);
        put_count((size_t)(bits >> 32));
        put_count((size_t)(bits & 0xffffffff));
        break;
    }
    case JSON_STRING:
        put("s", 1);
        put_count(json_string_length(value));
        put(json_string_value(value), json_string_length(value));
        break;
    case JSON_ARRAY: {
        size_t i;
        put("[", 1);
        put_count(json_array_size(value));
        for (i = 0; i < json_array_size(value); i++) put_value(json_array_get(value, i));
        break;
    }
    case JSON_OBJECT: {
        const char *key;
        json_t *member;
        put("{", 1);
        put_count(json_object_size(value));
        json_object_foreach(value, key, member) {
            put_count(strlen(key));
            put(key, strlen(key));
            put_value(member);
        }
        break;
    }
    }
}

int main(void) {
    uint32_t len;
    char *text = NULL;
    while (fread(&len, sizeof len, 1, stdin) == 1) {
        json_error_t error;
        json_t *value;
        len = ntohl(len);
        text = realloc(text, len + 1);
        if (!text || fread(text, 1, len, stdin) != len) return 1;
        used = 0;
        value = json_loadb(text, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
        if (value) {
            put("+", 1);
            put_value(value);
            json_decref(value);
        } else {
            char code = (char)json_error_code(&error);
            put("-", 1);
            put(&code, 1);
        }
        len = htonl((uint32_t)used);
        fwrite(&len, sizeof len, 1, stdout);
        fwrite(out, 1, used, stdout);
        fflush(stdout);
    }
    return 0;
}
