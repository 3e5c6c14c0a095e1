// A certified OpenID provider with one public client for people and one for services; every login succeeds, as the person that is typed in.
import { Provider } from "oidc-provider";
import { createServer } from "node:http";
import { generateKeyPairSync } from "node:crypto";

const settings = JSON.parse(process.argv[2]);
const key = (kid) => ({ ...generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ format: "jwk" }), kid, alg: "RS256", use: "sig" });
const counts = {};

const provider = new Provider(settings.issuer, {
  clients: [
    {
      client_id: "cli",
      application_type: "native",
      token_endpoint_auth_method: "none",
      grant_types: ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
      response_types: ["code"],
      redirect_uris: ["http://127.0.0.1/callback"],
    },
    {
      client_id: "robot",
      client_secret: "CANARY-robot-secret",
      grant_types: ["client_credentials"],
      response_types: [],
      redirect_uris: [],
    },
  ],
  jwks: { keys: [key("first")] },
  features: {
    deviceFlow: { enabled: true },
    revocation: { enabled: true },
    clientCredentials: { enabled: true },
    devInteractions: { enabled: true },
  },
  pkce: { required: () => true },
  rotateRefreshToken: true,
  conformIdTokenClaims: false,
  claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name", "groups"] },
  issueRefreshToken: async (_ctx, client) => client.grantTypeAllowed("refresh_token"),
  ttl: { IdToken: settings.idTokenSeconds, AccessToken: settings.idTokenSeconds, DeviceCode: settings.deviceCodeSeconds, RefreshToken: 86400, Session: 86400, Grant: 86400, Interaction: 3600 },
  findAccount: async (_ctx, id) => ({
    accountId: id,
    claims: async () => ({ sub: id, email: id, email_verified: !id.startsWith("unverified"), name: id.split("@")[0], groups: id.startsWith("admin") ? ["lake-admins"] : ["lake-readers"] }),
  }),
});

const handle = provider.callback();
createServer((request, response) => {
  const { pathname } = new URL(request.url, settings.issuer);
  if (pathname === "/counts") {
    response.end(JSON.stringify(counts));
    return;
  }
  counts[pathname] = (counts[pathname] ?? 0) + 1;
  handle(request, response);
}).listen(settings.port, "127.0.0.1", () => console.log("ready"));
