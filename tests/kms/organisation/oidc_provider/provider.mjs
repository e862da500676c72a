// An OpenID provider with the device grant, for tests: panva's oidc-provider on a free port of 127.0.0.1.
//
// Prints one line of JSON with its issuer. Everybody has the password "secret". `POST /test/rotate` makes it sign with a
// new key from then on. It ends when standard input does.
import { generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";
import Provider from "oidc-provider";

const key = (kid) => ({ ...generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ format: "jwk" }), kid, use: "sig", alg: "RS256" });

const people = {
  alice: { groups: ["phones", "staff"], email: "alice@example.com", email_verified: true },
  ann: { groups: ["administrators"], email: "ann@example.com", email_verified: true },
  aud: { groups: ["staff", "auditors"], email: "new@example.com", email_verified: true },
  bob: { groups: ["staff"], email: "bob@example.com", email_verified: false },
  "eve*": { groups: ["phones"], email: "sip:alice@example.com", email_verified: true },
};

const configuration = {
  clients: [
    { client_id: "kms", client_secret: "secret of the kms", redirect_uris: [], response_types: [], grant_types: ["urn:ietf:params:oauth:grant-type:device_code"], token_endpoint_auth_method: "client_secret_basic" },
    { client_id: "console", client_secret: "secret of the console", redirect_uris: ["https://console.example.com/sign-in/callback"], response_types: ["code"], grant_types: ["authorization_code"], token_endpoint_auth_method: "client_secret_basic" },
  ],
  features: { deviceFlow: { enabled: true }, devInteractions: { enabled: true } },
  claims: { openid: ["sub"], profile: ["preferred_username", "groups"], email: ["email", "email_verified"] },
  conformIdTokenClaims: false,
  cookies: { keys: ["of the tests"] },
  findAccount: async (context, id) => ({ accountId: id, claims: async () => ({ sub: id, preferred_username: id, ...people[id] }) }),
};

let first = key("first");
let handler;
const server = createServer((request, response) => {
  if (request.url === "/test/rotate") {
    provide([key(`later-${Date.now()}`)]);
    response.end();
    return;
  }
  handler(request, response);
});

// Grants under way are kept in the memory of the module: a provider made again knows them.
const provide = (keys) => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, { ...configuration, jwks: { keys } });
  handler = provider.callback();
};

server.listen(0, "127.0.0.1", () => {
  provide([first]);
  console.log(JSON.stringify({ issuer: `http://127.0.0.1:${server.address().port}` }));
});
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
