/* Causal multi-head attention with weights and a cache, by version 2 of the protocol of docs/protocol.md, in
   float32: ./module [WRONG]
   cc -O1 module.c -o module -lcjson -lm
   WRONG: scale, mask, heads, cache, crash, hang or garbage, to see how each is told; your own goes in `call`. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *HELLO =
    "{\"protocol\": 2, \"name\": \"module.c\", \"formats\": [\"float32\"], \"module\": {\"family\": \"multihead\","
    " \"options\": [\"d_in\", \"context_length\"], \"out\": true, \"cache\": true}}";
static const char *LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char *NAMES[] = {"query", "key", "value", "out"};
static const char *wrong = "";
static char error_text[80];

typedef struct { int in, width, heads, room; float *weights[4]; } Module; /* each (in, width), the last (width, width) */
typedef struct { Module *of; int batch, length; float *kept[2]; } State;  /* keys and values (B, room + 1, width) */
static Module **modules;
static State **states;
static int made[2]; /* so many modules and states have been, the first one has the number 1 */

static int is(const char *name) { return !strcmp(wrong, name); }
static cJSON *get(const cJSON *o, const char *name) { return cJSON_GetObjectItemCaseSensitive(o, name); }
static int whole(const cJSON *o, const char *name) { return get(o, name) ? get(o, name)->valueint : 0; }
static float *numbers(size_t count) { return calloc(count + 1, sizeof(float)); }

static float *decoded(const char *text) {
  unsigned char *bytes = malloc(strlen(text) + 4), *end = bytes;
  unsigned bits = 0;
  for (int n = 0; text[n] && text[n] != '='; n++) {
    bits = bits << 6 | (unsigned)(strchr(LETTERS, text[n]) - LETTERS);
    if (n % 4) *end++ = bits >> (6 - 2 * (n % 4)) & 255;
  }
  return (float *)bytes;
}

static char *encoded(const unsigned char *bytes, int size) {
  char *text = calloc(size / 3 * 4 + 5, 1), *end = text;
  for (int n = 0; n < size; n += 3) {
    unsigned bits = bytes[n] << 16 | (n + 1 < size ? bytes[n + 1] << 8 : 0) | (n + 2 < size ? bytes[n + 2] : 0);
    for (int m = 0; m < 4; m++) *end++ = n + m > size ? '=' : LETTERS[bits >> (18 - 6 * m) & 63];
  }
  return text;
}

static void project(const float *row, int in, const float *matrix, int width, float *to) { /* row @ matrix */
  for (int j = 0; j < width; j++) to[j] = 0;
  for (int i = 0; i < in; i++) for (int j = 0; j < width; j++) to[j] += row[i] * matrix[i * width + j];
}

/* The tokens x (T, in) of one item, of which `before` came earlier; their keys and values go behind those. */
static void item(const Module *m, const float *x, int T, int before, float *keys, float *values, float *out) {
  int W = m->width, D = W / m->heads, hole = is("cache") && before > 0;
  float *query = numbers(W), *context = numbers(W), *z = numbers(before + T);
  for (int i = 0; i < T; i++) {
    project(x + i * m->in, m->in, m->weights[1], W, keys + (size_t)(before + i + hole) * W);
    project(x + i * m->in, m->in, m->weights[2], W, values + (size_t)(before + i + hole) * W);
  }
  for (int i = 0; i < T; i++, out += W) {
    int seen = before + i + 1 + (is("mask") && i + 1 < T);
    project(x + i * m->in, m->in, m->weights[0], W, query);
    for (int n = 0; n < W; n++) context[n] = 0;
    for (int head = 0; head < m->heads; head++) {
      float top = -INFINITY, total = 0, *to = context + (is("heads") ? m->heads - 1 - head : head) * D;
      for (int j = 0; j < seen; j++) {
        z[j] = 0;
        for (int d = head * D; d < (head + 1) * D; d++) z[j] += query[d] * keys[(size_t)j * W + d];
        z[j] /= sqrtf(is("scale") ? W : D);
        top = z[j] > top || isnan(z[j]) ? z[j] : top;
      }
      for (int j = 0; j < seen; j++) total += z[j] = expf(z[j] - top);
      for (int j = 0; j < seen; j++)
        for (int d = 0; d < D; d++) to[d] += z[j] / total * values[(size_t)j * W + head * D + d];
    }
    project(context, W, m->weights[3], W, out);
  }
  free(query), free(context), free(z);
}

static const char *call(const Module *m, State *past, const cJSON *x, cJSON *answer) { /* past: NULL for none */
  const cJSON *shape = get(x, "shape");
  if (!m || !m->weights[0]) return "no module of this number has weights";
  snprintf(error_text, sizeof error_text, "x is not (B, T, %d)", m->in);
  if (cJSON_GetArraySize(shape) != 3) return error_text;
  int B = cJSON_GetArrayItem(shape, 0)->valueint, T = cJSON_GetArrayItem(shape, 1)->valueint, W = m->width;
  int before = past ? past->length : 0, sizes[3] = {B, T, W};
  int in = cJSON_GetArrayItem(shape, 2)->valueint;
  snprintf(error_text, sizeof error_text, "%d columns, and d_in is %d", in, m->in);
  if (in != m->in) return error_text;
  snprintf(error_text, sizeof error_text, "%d tokens of %d items, and room for %d", before + T, B, m->room);
  if (before + T > m->room || (past && past->batch != B)) return error_text;
  if (T == 2 && is("crash")) abort();
  if (T == 2 && is("hang")) sleep(3600);
  if (is("garbage")) printf("I was called\n"); /* wrong: this is for standard error */
  float *tokens = decoded(get(x, "data")->valuestring), *output = numbers((size_t)B * T * W);
  float *keys = past ? past->kept[0] : numbers((size_t)B * (m->room + 1) * W);
  float *values = past ? past->kept[1] : numbers((size_t)B * (m->room + 1) * W);
  for (int b = 0; b < B; b++) {
    size_t place = (size_t)b * (m->room + 1) * W;
    item(m, tokens + (size_t)b * T * m->in, T, before, keys + place, values + place, output + (size_t)b * T * W);
  }
  if (past) past->length += T;
  else free(keys), free(values);
  cJSON *part = cJSON_AddObjectToObject(answer, "output");
  char *text = encoded((unsigned char *)output, B * T * W * (int)sizeof(float));
  cJSON_AddItemToObject(part, "shape", cJSON_CreateIntArray(sizes, 3));
  cJSON_AddStringToObject(part, "dtype", "float32"), cJSON_AddStringToObject(part, "data", text);
  free(text), free(tokens), free(output);
  return NULL;
}

static Module *module(int n) { return n > 0 && n <= made[0] ? modules[n - 1] : NULL; }
static State *state(int n) { return n > 0 && n <= made[1] ? states[n - 1] : NULL; }

static const char *build(const cJSON *asked, cJSON *answer) {
  int width = whole(asked, "d_out"), heads = whole(asked, "heads");
  snprintf(error_text, sizeof error_text, "%d heads do not divide d_out %d", heads, width);
  if (heads < 1 || width % heads) return error_text;
  Module *m = calloc(1, sizeof *m);
  *m = (Module){whole(asked, "d_in"), width, heads, whole(asked, "context_length"), {NULL}};
  modules = realloc(modules, ++made[0] * sizeof *modules);
  modules[made[0] - 1] = m;
  cJSON_AddNumberToObject(answer, "module", made[0]);
  return NULL;
}

static const char *load(Module *m, const cJSON *weights) {
  if (!m) return "no module has this number";
  for (int n = 0; n < 4; n++)
    free(m->weights[n]), m->weights[n] = decoded(get(get(weights, NAMES[n]), "data")->valuestring);
  return NULL;
}

static const char *begin(Module *m, int batch, cJSON *answer) {
  if (!m) return "no module has this number";
  State *s = calloc(1, sizeof *s);
  *s = (State){m, batch, 0, {NULL}};
  for (int n = 0; n < 2; n++) s->kept[n] = numbers((size_t)batch * (m->room + 1) * m->width);
  states = realloc(states, ++made[1] * sizeof *states);
  states[made[1] - 1] = s;
  cJSON_AddNumberToObject(answer, "state", made[1]);
  return NULL;
}

static void forget(const cJSON *asked) {
  const cJSON *n;
  cJSON_ArrayForEach(n, get(asked, "states")) if (state(n->valueint)) {
    State **s = &states[n->valueint - 1];
    free((*s)->kept[0]), free((*s)->kept[1]), free(*s), *s = NULL;
  }
  cJSON_ArrayForEach(n, get(asked, "modules")) if (module(n->valueint)) {
    Module **m = &modules[n->valueint - 1];
    for (int k = 0; k < 4; k++) free((*m)->weights[k]);
    free(*m), *m = NULL;
  }
}

int main(int argc, char **argv) {
  char *line = NULL;
  size_t room = 0;
  if (argc > 1) wrong = argv[1];
  while (getline(&line, &room, stdin) > 0) {
    cJSON *asked = cJSON_Parse(line), *answer = cJSON_CreateObject();
    const char *what = get(asked, "do")->valuestring, *error = "this program does not know that";
    Module *m = module(whole(asked, "module"));
    State *past = state(whole(asked, "state"));
    if (!strcmp(what, "hello")) cJSON_Delete(answer), answer = cJSON_Parse(HELLO), error = NULL;
    if (!strcmp(what, "build")) error = build(asked, answer);
    if (!strcmp(what, "load")) error = load(m, get(asked, "weights"));
    if (!strcmp(what, "call")) error = call(m, NULL, get(asked, "x"), answer);
    if (!strcmp(what, "begin")) error = begin(m, whole(asked, "batch"), answer);
    if (!strcmp(what, "step")) error = past ? call(past->of, past, get(asked, "x"), answer) : "no state has this number";
    if (!strcmp(what, "free")) forget(asked), error = NULL;
    if (error) cJSON_AddStringToObject(answer, "error", error);
    cJSON_AddItemToObject(answer, "id", cJSON_Duplicate(get(asked, "id"), 1));
    char *text = cJSON_PrintUnformatted(answer);
    printf("%s\n", text), fflush(stdout);
    free(text), cJSON_Delete(asked), cJSON_Delete(answer);
  }
  free(line);
  return 0;
}
