/* Attention as a program that answers the protocol of docs/protocol.md, in float32: ./attention [WRONG]
   cc -O1 attention.c -o attention -lcjson -lm
   WRONG: scale, mask, crash, hang or garbage, to see how each is told; your own goes in `attention`. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *HELLO =
    "{\"protocol\": 1, \"name\": \"attention.c\", \"formats\": [\"float32\"], \"gradients\": false,"
    " \"takes\": [\"mask\", \"causal\", \"scale\", \"cap\", \"groups\", \"lengths\"],"
    " \"conventions\": {\"mask\": \"attend\", \"align\": \"bottom right\", \"empty\": \"zeros\"}}";
static const char *LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char *wrong = "";

typedef struct { int shape[4]; unsigned char *bytes; } Array; /* bytes: float, or 0 and 1 in a mask */

static int is(const char *name) { return !strcmp(wrong, name); }
static cJSON *get(const cJSON *o, const char *name) { return cJSON_GetObjectItemCaseSensitive(o, name); }

static unsigned char *decoded(const char *text) {
  unsigned char *bytes = malloc(strlen(text) + 4), *end = bytes;
  unsigned bits = 0;
  for (int n = 0; text[n] && text[n] != '='; n++) {
    bits = bits << 6 | (unsigned)(strchr(LETTERS, text[n]) - LETTERS);
    if (n % 4) *end++ = bits >> (6 - 2 * (n % 4)) & 255;
  }
  return bytes;
}

static char *encoded(const unsigned char *bytes, int size) {
  char *text = calloc(size / 3 * 4 + 5, 1), *end = text;
  for (int n = 0; n < size; n += 3) {
    unsigned bits = bytes[n] << 16 | (n + 1 < size ? bytes[n + 1] << 8 : 0) | (n + 2 < size ? bytes[n + 2] : 0);
    for (int m = 0; m < 4; m++) *end++ = n + m > size ? '=' : LETTERS[bits >> (18 - 6 * m) & 63];
  }
  return text;
}

static Array array(const cJSON *part) { /* no bytes where there is none, or not of four axes */
  Array a = {{0}, NULL};
  if (cJSON_GetArraySize(get(part, "shape")) != 4) return a;
  for (int n = 0; n < 4; n++) a.shape[n] = cJSON_GetArrayItem(get(part, "shape"), n)->valueint;
  a.bytes = decoded(get(part, "data")->valuestring);
  return a;
}

static float number(const cJSON *x, float otherwise) { /* numbers that JSON lacks are strings: "NaN" */
  return !x ? otherwise : cJSON_IsNumber(x) ? (float)x->valuedouble : strtof(x->valuestring, NULL);
}

/* The attention that is checked: NULL and the output (B, H, T, E), or why there is none. */
static const char *attention(const cJSON *call, Array query, Array key, Array value, Array mask, Array *output) {
  const cJSON *told = get(call, "mask");
  if (!query.bytes || !key.bytes || !value.bytes) return "query, key and value need four axes";
  int B = query.shape[0], H = query.shape[1], T = query.shape[2], D = query.shape[3];
  int G = key.shape[1], S = key.shape[2], E = value.shape[3], shape[4] = {B, H, T, S};
  if (key.shape[0] != B || key.shape[3] != D || memcmp(key.shape, value.shape, 3 * sizeof(int)))
    return "query, key and value do not fit each other";
  if (!G || H % G) return "the heads of keys do not divide those of queries";
  if (told && (memcmp(mask.shape, shape, sizeof shape) || strcmp(get(told, "dtype")->valuestring, "bool")))
    return "the mask is not (B, H, T, S) of booleans";
  float scale = number(get(call, "scale"), is("scale") ? 1.0f : 1.0f / sqrtf(D)), cap = number(get(call, "cap"), 0.0f);
  int causal = cJSON_IsTrue(get(call, "causal")), start = is("mask") ? 0 : S - T;
  if (cap && S > 3 && is("crash")) abort();
  if (cap && S > 3 && is("hang")) sleep(3600);
  *output = (Array){{B, H, T, E}, calloc((size_t)B * H * T * E + 1, sizeof(float))};
  float *q = (float *)query.bytes, *out = (float *)output->bytes, *z = malloc((S + 1) * sizeof(float));
  for (int row = 0; row < B * H * T; row++, q += D, out += E) {
    int group = row / T / H * G + row / T % H / (H / G), i = row % T;
    const float *k = (float *)key.bytes + (size_t)group * S * D, *v = (float *)value.bytes + (size_t)group * S * E;
    float top = -INFINITY, total = 0;
    for (int j = 0; j < S; j++) {
      float dot = 0;
      for (int d = 0; d < D; d++) dot += q[d] * k[j * D + d];
      z[j] = cap ? cap * tanhf(scale * dot / cap) : scale * dot;
      if ((causal && j > i + start) || (told && !mask.bytes[(size_t)row * S + j])) z[j] = -INFINITY;
      top = z[j] > top || isnan(z[j]) ? z[j] : top;
    }
    if (top == -INFINITY) continue; /* sees nothing: zeros */
    for (int j = 0; j < S; j++) total += z[j] = expf(z[j] - top);
    for (int j = 0; j < S; j++) for (int e = 0; e < E; e++) out[e] += z[j] / total * v[j * E + e];
  }
  free(z);
  return NULL;
}

static const char *called(const cJSON *call, Array *output) { /* its arrays are freed, also where it is refused */
  Array query = array(get(call, "query")), key = array(get(call, "key")), value = array(get(call, "value"));
  Array mask = array(get(call, "mask"));
  const char *error = attention(call, query, key, value, mask, output);
  free(query.bytes), free(key.bytes), free(value.bytes), free(mask.bytes);
  return error;
}

int main(int argc, char **argv) {
  char *line = NULL;
  size_t room = 0;
  if (argc > 1) wrong = argv[1];
  while (getline(&line, &room, stdin) > 0) {
    cJSON *asked = cJSON_Parse(line), *answer = cJSON_CreateObject();
    const char *what = get(asked, "do")->valuestring, *error = "this program answers hello and call";
    Array output = {{0}, NULL};
    if (!strcmp(what, "hello")) cJSON_Delete(answer), answer = cJSON_Parse(HELLO), error = NULL;
    if (!strcmp(what, "call")) error = called(asked, &output);
    if (is("garbage") && output.bytes) printf("I was called\n"); /* wrong: this is for standard error */
    if (error) cJSON_AddStringToObject(answer, "error", error);
    if (output.bytes) {
      int *s = output.shape, size = s[0] * s[1] * s[2] * s[3] * (int)sizeof(float);
      cJSON *part = cJSON_AddObjectToObject(answer, "output");
      char *text = encoded(output.bytes, size);
      cJSON_AddItemToObject(part, "shape", cJSON_CreateIntArray(s, 4));
      cJSON_AddStringToObject(part, "dtype", "float32"), cJSON_AddStringToObject(part, "data", text);
      free(text), free(output.bytes);
    }
    cJSON_AddItemToObject(answer, "id", cJSON_Duplicate(get(asked, "id"), 1));
    char *text = cJSON_PrintUnformatted(answer);
    printf("%s\n", text), fflush(stdout);
    free(text), cJSON_Delete(asked), cJSON_Delete(answer);
  }
  free(line);
  return 0;
}
