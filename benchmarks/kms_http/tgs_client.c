/*
 * Asks a Kerberos KDC for service tickets, one after the other, and prints how long that took.
 *
 *   cc -O2 -o tgs_client tgs_client.c -lkrb5
 *   tgs_client CLIENT KEYTAB SERVICE COUNT
 *
 * The ticket-granting ticket is fetched once, before the clock starts. Nothing is cached, so that every round
 * is a TGS exchange. Output: one line of JSON.
 */
#include <krb5.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static krb5_context context;

static void check(krb5_error_code code, const char *step)
{
    if (code == 0)
        return;
    const char *text = krb5_get_error_message(context, code);
    fprintf(stderr, "tgs_client: %s: %s\n", step, text);
    krb5_free_error_message(context, text);
    exit(1);
}

static double seconds(clockid_t clock)
{
    struct timespec reading;
    clock_gettime(clock, &reading);
    return (double)reading.tv_sec + (double)reading.tv_nsec / 1e9;
}

static int ascending(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: tgs_client CLIENT KEYTAB SERVICE COUNT\n");
        return 2;
    }
    long count = strtol(argv[4], NULL, 10);
    if (count < 1 || count > 10000000) {
        fprintf(stderr, "tgs_client: COUNT is from 1 to 10000000\n");
        return 2;
    }
    krb5_principal client, service;
    krb5_keytab keytab;
    krb5_ccache cache;
    krb5_creds ticket_granting = {0};

    check(krb5_init_context(&context), "context");
    check(krb5_parse_name(context, argv[1], &client), "client name");
    check(krb5_parse_name(context, argv[3], &service), "service name");
    check(krb5_kt_resolve(context, argv[2], &keytab), "keytab");
    check(krb5_get_init_creds_keytab(context, &ticket_granting, client, keytab, 0, NULL, NULL), "first ticket");
    check(krb5_cc_new_unique(context, "MEMORY", NULL, &cache), "cache");
    check(krb5_cc_initialize(context, cache, client), "cache");
    check(krb5_cc_store_cred(context, cache, &ticket_granting), "cache");

    double *taken = malloc((size_t)count * sizeof *taken);
    if (taken == NULL)
        return 1;
    double began = seconds(CLOCK_MONOTONIC);
    for (long round = 0; round < count; round++) {
        krb5_creds wanted = {0}, *got = NULL;
        wanted.client = client;
        wanted.server = service;
        double sent = seconds(CLOCK_MONOTONIC);
        check(krb5_get_credentials(context, KRB5_GC_NO_STORE, cache, &wanted, &got), "service ticket");
        taken[round] = seconds(CLOCK_MONOTONIC) - sent;
        krb5_free_creds(context, got);
    }
    double all = seconds(CLOCK_MONOTONIC) - began;
    qsort(taken, (size_t)count, sizeof *taken, ascending);
    printf("{\"count\": %ld, \"seconds\": %.6f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"client_cpu_us\": %.1f}\n", count,
           all, taken[count / 2] * 1e6, taken[count * 99 / 100] * 1e6,
           seconds(CLOCK_PROCESS_CPUTIME_ID) / (double)count * 1e6);
    free(taken);
    return 0;
}
