/** The description of the API, shown by Swagger UI: a page of its own, so that the others need not load it. */

import SwaggerUI from "swagger-ui-dist/swagger-ui-es-bundle.js";
import "swagger-ui-dist/swagger-ui.css";
import { BASE } from "./api";

SwaggerUI({ url: `${BASE}/openapi.json`, dom_id: "#docs" });
